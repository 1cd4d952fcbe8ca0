-- It runs by itself: what is due, what was launched, what people are told, and what versions may be.

-- ---------------------------------------------------------------------------------------- what is due

-- Why the document of `planned_revision` cannot be used, where it cannot: {code, message}.
ALTER TABLE projects ADD COLUMN document_problem jsonb;

ALTER TABLE scenes
    ADD COLUMN continuity_group text,
    -- When the document last said something else about the picture: a quiet period counts from here.
    ADD COLUMN content_changed_at timestamptz NOT NULL DEFAULT now(),
    -- Somebody chose a version by hand while the document's content had this hash: for this content
    -- the choice stands, whatever the version was made from.
    ADD COLUMN chosen_content_hash text,
    -- When the sensor of changes is to look at the scene; NULL once nothing is to be done by itself.
    ADD COLUMN wanted_at timestamptz,
    ADD COLUMN want_attempts integer NOT NULL DEFAULT 0;
CREATE INDEX scenes_wanted ON scenes (wanted_at) WHERE wanted_at IS NOT NULL;

-- Switching `auto_refresh` on, or taking a project out of the archive, makes its scenes due, whoever
-- does it.
CREATE FUNCTION projects_want_scenes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE scenes SET wanted_at = now(), want_attempts = 0
    WHERE project_id = NEW.id AND retired_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER projects_want_scenes AFTER UPDATE OF auto_refresh, archived_at ON projects
    FOR EACH ROW
    WHEN ((NEW.auto_refresh AND NOT OLD.auto_refresh AND NEW.archived_at IS NULL)
          OR (NEW.archived_at IS NULL AND OLD.archived_at IS NOT NULL))
    EXECUTE FUNCTION projects_want_scenes();

ALTER TABLE regeneration_requests
    -- When a run is to be launched for it (again).
    ADD COLUMN due_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    -- Why it was refused or given up.
    ADD COLUMN error_code text,
    ADD COLUMN error_message text;
CREATE INDEX regeneration_requests_due ON regeneration_requests (due_at) WHERE state = 'pending';

ALTER TABLE generations
    -- When a generation that nobody finished is to be taken up again.
    ADD COLUMN take_up_at timestamptz NOT NULL DEFAULT now() + interval '15 seconds',
    ADD COLUMN take_up_attempts integer NOT NULL DEFAULT 0;
CREATE INDEX generations_take_up ON generations (take_up_at)
    WHERE state NOT IN ('published', 'superseded', 'failed', 'abandoned');

-- One row is one Dagster run that was, or is to be, launched for scenes of one project; committed
-- before the run is asked for, so that a run that never came to be is noticed and asked for again.
CREATE TABLE launches (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trigger             text NOT NULL CHECK (trigger IN (
                            'scene_changes', 'auto_refresh', 'regeneration_requests',
                            'unfinished_generations', 'command')),
    project_id          uuid NOT NULL REFERENCES projects (id),
    -- One contiguous range of partitions, in the order of the instance.
    scene_ids           text[] NOT NULL CHECK (cardinality(scene_ids) >= 1),
    request_ids         bigint[] NOT NULL DEFAULT '{}',
    refresh_stale       boolean NOT NULL DEFAULT false,
    reason              text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    closed_at           timestamptz,
    -- How it ended: Dagster's status of its run, or 'expired'.
    outcome             text,
    CHECK ((closed_at IS NULL) = (outcome IS NULL))
);
-- What is under way: a scene in one of these is not launched a second time.
CREATE INDEX launches_open ON launches (project_id) WHERE closed_at IS NULL;

-- ------------------------------------------------------------------------------- what people are told

-- An outbox: written in the transaction of the change it tells of, delivered by a sensor, once.
CREATE TABLE alerts (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint         text NOT NULL UNIQUE,   -- the same thing is told once
    code                text NOT NULL,
    message             text NOT NULL,
    next_action         text NOT NULL,
    project_id          uuid REFERENCES projects (id),
    scene_id            text,
    generation_id       uuid REFERENCES generations (id),
    run_id              text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    due_at              timestamptz NOT NULL DEFAULT now(),
    attempts            integer NOT NULL DEFAULT 0,
    settled_at          timestamptz,
    outcome             text CHECK (outcome IN ('delivered', 'logged', 'outdated', 'given_up')),
    CHECK ((settled_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX alerts_due ON alerts (due_at) WHERE settled_at IS NULL;

-- ------------------------------------------------------------------------------------------ the inbox

-- Files of a watched folder or prefix, as they were last looked at.
CREATE TABLE inbox_files (
    source              text NOT NULL,
    path                text NOT NULL,
    fingerprint         text NOT NULL,          -- cheap to see: size and time, or an entity tag
    sha256              text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    state               text NOT NULL CHECK (state IN ('imported', 'broken', 'refused')),
    problems            jsonb NOT NULL DEFAULT '[]',
    project_id          uuid REFERENCES projects (id),
    -- Revision of the document that was last written beside the file.
    written_revision    bigint,
    seen_at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, path)
);
CREATE INDEX inbox_files_project ON inbox_files (project_id) WHERE project_id IS NOT NULL;

-- ------------------------------------------------------------- candidates, references, ladder, reuse

ALTER TABLE generations
    -- Candidates asked for in one request.
    ADD COLUMN image_count integer NOT NULL DEFAULT 1 CHECK (image_count BETWEEN 1 AND 8),
    -- Pictures that are sent along, in order; settled before the payment is permitted.
    ADD COLUMN reference_images jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(reference_images) = 'array'),
    -- How many steps down the ladder after rejections it stands.
    ADD COLUMN rung integer NOT NULL DEFAULT 0 CHECK (rung >= 0),
    -- What the provider's safety check objected to.
    ADD COLUMN flagged_input text CHECK (flagged_input IN ('prompt', 'reference', 'output')),
    -- The picture that stands in for paying again.
    ADD COLUMN reused_image_id uuid REFERENCES scene_images (id);

-- Candidates after the first, whose facts stand in `generations` itself.
CREATE TABLE generation_images (
    generation_id       uuid NOT NULL REFERENCES generations (id),
    image_index         integer NOT NULL CHECK (image_index BETWEEN 1 AND 7),
    storage_key         text NOT NULL REFERENCES storage_objects (key),
    image               jsonb NOT NULL,
    thumbnail           bytea CHECK (octet_length(thumbnail) <= 16384),
    PRIMARY KEY (generation_id, image_index)
);
CREATE INDEX generation_images_key ON generation_images (storage_key);

-- One stored object may be the frame of several scenes: a renamed scene keeps its picture.
ALTER TABLE scene_images DROP CONSTRAINT scene_images_storage_path_key;
CREATE INDEX scene_images_storage_path ON scene_images (storage_path);
CREATE INDEX generations_content ON generations (project_id, content_hash);
CREATE INDEX generations_same_request ON generations (request_hash);

-- ------------------------------------------------------------------------------------------ the state

DROP VIEW scene_status;
-- The state of every scene, computed and never stored; every door reads this one view.
CREATE VIEW scene_status AS
SELECT s.project_id, p.key AS project_key, s.scene_id, s.position, s.scene_prompt,
       s.content, s.content_hash, s.locked, s.problem_code, s.problem_message,
       s.continuity_group, s.content_changed_at, s.wanted_at, s.want_attempts,
       p.auto_refresh, p.archived_at,
       CASE
           WHEN s.problem_code IS NOT NULL THEN 'invalid'
           WHEN o.error_code IN ('budget_exhausted', 'price_unknown') THEN 'blocked'
           WHEN o.state = 'submitting' AND (o.error_code = 'submit_ambiguous'
                OR o.submitting_at < now() - interval '5 minutes') THEN 'ambiguous'
           WHEN o.id IS NOT NULL THEN 'generating'
           WHEN i.id IS NULL AND l.state = 'failed' THEN 'failed'
           WHEN i.id IS NULL THEN 'missing'
           WHEN s.locked THEN 'locked'
           WHEN c.is_stale AND NOT c.is_chosen THEN 'stale'
           WHEN i.storage_status = 'external' THEN 'external'
           ELSE 'current'
       END AS state,
       CASE WHEN c.is_stale THEN (
           SELECT array_agg(part ORDER BY part) FROM jsonb_object_keys(s.content) AS part
           WHERE s.content -> part IS DISTINCT FROM g.content -> part)
       END AS stale_causes,
       coalesce(c.is_stale AND c.is_chosen, false) AS is_chosen,
       i.id AS image_id, i.version, i.storage_url, i.storage_path, i.storage_status,
       i.generated_at, g.id AS current_generation_id, g.content_hash AS current_content_hash,
       g.content AS current_content, g.request_hash AS current_request_hash,
       g.seed AS current_seed,
       o.id AS open_generation_id, o.state AS open_state,
       l.id AS last_generation_id, l.state AS last_state,
       l.content_hash AS last_content_hash, l.error_retryable AS last_error_retryable,
       l.error_charge AS last_error_charge, l.flagged_input AS last_flagged_input,
       l.error_code, l.error_message, l.error_next_action,
       -- What is under way keeps the wishes that it was planned with.
       r.id AS request_id, coalesce(a.overrides, r.overrides) AS request_overrides,
       (SELECT coalesce(sum(coalesce(x.cost_micros, 0) + x.doubtful_micros), 0) FROM generations x
        WHERE x.project_id = s.project_id AND x.scene_id = s.scene_id)::bigint AS cost_micros
FROM scenes s
JOIN projects p ON p.id = s.project_id
LEFT JOIN scene_images i ON i.project_id = s.project_id AND i.scene_id = s.scene_id AND i.is_current
LEFT JOIN generations g ON g.id = i.generation_id
LEFT JOIN LATERAL (SELECT g.content_hash <> s.content_hash AS is_stale,
    s.chosen_content_hash IS NOT DISTINCT FROM s.content_hash AS is_chosen) c ON true
LEFT JOIN generations o ON o.project_id = s.project_id AND o.scene_id = s.scene_id
     AND o.state NOT IN ('published', 'superseded', 'failed', 'abandoned')
LEFT JOIN LATERAL (
    SELECT * FROM generations n WHERE n.project_id = s.project_id AND n.scene_id = s.scene_id
    ORDER BY n.seq DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (
    SELECT q.id, q.overrides FROM regeneration_requests q
    WHERE q.project_id = s.project_id AND q.scene_id = s.scene_id AND q.state = 'pending'
    ORDER BY q.id LIMIT 1) r ON true
LEFT JOIN LATERAL (
    SELECT q.overrides FROM regeneration_requests q
    WHERE q.project_id = s.project_id AND q.scene_id = s.scene_id AND q.state = 'claimed'
      AND q.generation_id = o.id ORDER BY q.id LIMIT 1) a ON true
WHERE s.retired_at IS NULL;
