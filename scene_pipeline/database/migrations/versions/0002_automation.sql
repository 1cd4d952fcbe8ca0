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
    INSERT INTO storyboard_changes (project_id) VALUES (NEW.id);
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

-- As before; and what is asked for once more is due at once.
CREATE OR REPLACE FUNCTION regeneration_requests_coalesce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Serialises requests for one scene, so that two at the same instant meet here.
    PERFORM pg_advisory_xact_lock(hashtextextended(
        'regenerate:' || NEW.project_id::text || '/' || NEW.scene_id, 0));
    UPDATE regeneration_requests SET asked = asked + 1, due_at = least(due_at, now()), attempts = 0
    WHERE project_id = NEW.project_id AND scene_id = NEW.scene_id AND state = 'pending'
      AND md5(overrides::text) = md5(NEW.overrides::text);
    IF FOUND THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;

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
    -- One contiguous range of partitions, in the order of the instance; of a command all its scenes.
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
-- It refers to nothing by foreign key: telling must never make the ledger wait for a lock.
CREATE TABLE alerts (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint         text NOT NULL UNIQUE,   -- the same thing is told once
    code                text NOT NULL,
    message             text NOT NULL,
    next_action         text NOT NULL,
    project_id          uuid,
    scene_id            text,
    generation_id       uuid,
    run_id              text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    due_at              timestamptz NOT NULL DEFAULT now(),
    attempts            integer NOT NULL DEFAULT 0,
    settled_at          timestamptz,
    outcome             text CHECK (outcome IN ('delivered', 'logged', 'outdated', 'given_up')),
    CHECK ((settled_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX alerts_due ON alerts (due_at) WHERE settled_at IS NULL;

-- What every run meets again stays the same thing; another payment makes it a new one.
CREATE FUNCTION alert_fingerprint(g generations) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('generation:%s:%s:%s', g.id, g.error_code,
                  CASE WHEN g.error_charge IS DISTINCT FROM 'not_charged' THEN g.submit_count END)
$$;
CREATE FUNCTION heal_alert_fingerprint(g generations) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('heal:%s:%s', g.id, g.heal_error_code)
$$;

-- Whether an alert is still true at the moment of its delivery: what was tried again meanwhile, by
-- the same generation or by a newer one of the scene, is told by what came of that.
CREATE FUNCTION alert_holds(a alerts) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT a.generation_id IS NULL OR EXISTS (
        SELECT 1 FROM generations g WHERE g.id = a.generation_id AND CASE
            WHEN a.fingerprint = heal_alert_fingerprint(g) THEN EXISTS (
                SELECT 1 FROM scene_images i
                WHERE i.generation_id = g.id AND i.is_current AND i.storage_status = 'external')
            ELSE a.fingerprint = alert_fingerprint(g)
                AND g.state IN ('planned', 'submitting', 'submitted', 'completed', 'failed')
                AND NOT EXISTS (
                    SELECT 1 FROM generations n
                    WHERE n.project_id = g.project_id AND n.scene_id = g.scene_id AND n.seq > g.seq)
            END)
$$;

-- Due a little later: what the pipeline itself cures at once is no news. An alert that was outdated
-- when its time came has not been told, so that it may come again; one that waits is looked at
-- after the newest change.
CREATE FUNCTION generations_alert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_heal boolean := TG_ARGV[0] = 'heal';
BEGIN
    INSERT INTO alerts AS a (fingerprint, code, message, next_action, project_id, scene_id,
                             generation_id, run_id, due_at)
    SELECT CASE WHEN is_heal THEN heal_alert_fingerprint(NEW) ELSE alert_fingerprint(NEW) END,
           CASE WHEN is_heal THEN NEW.heal_error_code ELSE NEW.error_code END,
           left(coalesce(CASE WHEN is_heal THEN NEW.heal_error_message ELSE NEW.error_message END,
                         'Scene ' || NEW.scene_id || ' failed.'), 2000),
           left(coalesce(CASE WHEN NOT is_heal THEN NEW.error_next_action END,
                         'Make another frame of the scene while the document''s still works.'),
                2000),
           NEW.project_id, NEW.scene_id, NEW.id, NEW.run_id, now() + interval '10 seconds'
    WHERE NOT EXISTS (SELECT 1 FROM projects WHERE id = NEW.project_id AND is_scratch)
    ON CONFLICT (fingerprint) DO UPDATE SET
        due_at = greatest(a.due_at, EXCLUDED.due_at), settled_at = NULL, outcome = NULL,
        message = EXCLUDED.message, next_action = EXCLUDED.next_action, run_id = EXCLUDED.run_id
    WHERE a.outcome IS NULL OR a.outcome = 'outdated';
    RETURN NULL;
END $$;
CREATE TRIGGER generations_alert_failed_at_once AFTER INSERT ON generations
    FOR EACH ROW WHEN (NEW.state = 'failed') EXECUTE FUNCTION generations_alert('step');
CREATE TRIGGER generations_alert_failed AFTER UPDATE OF state ON generations
    FOR EACH ROW WHEN (NEW.state = 'failed' AND OLD.state <> 'failed')
    EXECUTE FUNCTION generations_alert('step');
-- Open, and nothing that passes by itself: a cap, an unknown price, a payment in doubt, a refusal
-- that every other scene would meet too; or it ought to have passed, a quarter of an hour ago.
CREATE TRIGGER generations_alert_held AFTER UPDATE OF error_code ON generations
    FOR EACH ROW WHEN (
        NEW.state = OLD.state AND NEW.error_code IS NOT NULL
        AND (NEW.error_retryable IS NOT TRUE OR NEW.take_up_attempts >= 5)
        AND NEW.state IN ('planned', 'submitting', 'submitted', 'completed'))
    EXECUTE FUNCTION generations_alert('step');
-- A frame that the document shows and that cannot be brought home any more, or must not be.
CREATE TRIGGER generations_alert_lost AFTER UPDATE OF heal_error_code ON generations
    FOR EACH ROW WHEN (
        NEW.heal_error_code IS DISTINCT FROM OLD.heal_error_code
        AND NEW.heal_error_code ~ '^(blocked_|redirect_|invalid_url$|result_lost$|bytes_changed$)')
    EXECUTE FUNCTION generations_alert('heal');

-- ------------------------------------------------------------------------------------ contact sheets

-- Projects whose sheet may not show their frames any more. One row per change rather than one per
-- project, since workers that record frames of one project must never wait for each other here; the
-- sensor puts them together.
CREATE TABLE storyboard_changes (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          uuid NOT NULL,
    looked_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX storyboard_changes_next ON storyboard_changes (looked_at);
CREATE INDEX storyboard_changes_project ON storyboard_changes (project_id);
INSERT INTO storyboard_changes (project_id) SELECT id FROM projects WHERE archived_at IS NULL;

CREATE FUNCTION storyboard_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO storyboard_changes (project_id) VALUES (NEW.project_id);
    RETURN NULL;
END $$;
CREATE TRIGGER scene_images_storyboard_of_new AFTER INSERT ON scene_images
    FOR EACH ROW WHEN (NEW.is_current) EXECUTE FUNCTION storyboard_changed();
CREATE TRIGGER scene_images_storyboard AFTER UPDATE OF is_current, storage_status ON scene_images
    FOR EACH ROW WHEN (NEW.is_current
        AND (NOT OLD.is_current OR NEW.storage_status <> OLD.storage_status))
    EXECUTE FUNCTION storyboard_changed();

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
    -- What the file beside may hold and be ours: what was written last, and what is being written.
    own_outputs         text[] NOT NULL DEFAULT '{}',
    -- Since when the file beside cannot be written.
    output_failed_at    timestamptz,
    -- Since when the file is not there any more.
    missing_since       timestamptz,
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
    -- What its order set over everything, where it was asked for: whoever takes it up keeps to it.
    ADD COLUMN overrides jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object'),
    -- How many steps down the ladder after rejections it stands.
    ADD COLUMN rung integer NOT NULL DEFAULT 0 CHECK (rung >= 0),
    -- What the provider's safety check objected to.
    ADD COLUMN flagged_input text CHECK (flagged_input IN ('prompt', 'reference', 'output')),
    -- The picture that stands in for paying again.
    ADD COLUMN reused_image_id uuid REFERENCES scene_images (id) ON DELETE SET NULL;

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
CREATE INDEX generations_content ON generations (project_id, content_hash, scene_id);
CREATE INDEX generations_reused ON generations (reused_image_id) WHERE reused_image_id IS NOT NULL;
CREATE INDEX generations_same_request ON generations (request_hash);

-- ------------------------------------------------------------------------- healing and retention

-- When a picture that is at its provider only is to be brought home (again); NULL once it is.
ALTER TABLE generations ADD COLUMN heal_at timestamptz;
UPDATE generations SET heal_at = now() WHERE storage_status = 'external';
CREATE INDEX generations_heal ON generations (heal_at) WHERE heal_at IS NOT NULL;

-- A version that retention gave up stays as a tombstone: its number, its picture's facts and what it
-- cost. Its object is the collector's.
ALTER TABLE scene_images
    ADD COLUMN removed_at timestamptz,
    DROP CONSTRAINT scene_images_storage_status_check,
    ADD CONSTRAINT scene_images_storage_status_check
        CHECK (storage_status IN ('stored', 'external', 'removed')),
    DROP CONSTRAINT scene_images_check,
    ADD CONSTRAINT scene_images_check CHECK (storage_status <> 'stored' OR (
        storage_path IS NOT NULL AND sha256 IS NOT NULL AND file_size > 0
        AND content_type IN ('image/png', 'image/jpeg', 'image/webp'))),
    ADD CONSTRAINT scene_images_removed_check CHECK (
        (storage_status = 'removed') = (removed_at IS NOT NULL)
        AND (storage_status <> 'removed' OR (storage_path IS NULL AND NOT is_current)));

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
           WHEN o.error_code IN ('budget_exhausted', 'price_unknown', 'continuity_broken',
                                 'provider_busy', 'fal_key_missing') THEN 'blocked'
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
       o.id AS open_generation_id, o.state AS open_state, o.overrides AS open_overrides,
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
