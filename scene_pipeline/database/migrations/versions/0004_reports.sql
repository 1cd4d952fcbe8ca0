-- What people look at: verdicts of checks, reports and pages, each kept with what it was made from.

-- --------------------------------------------------------------------------------- verdicts of checks

-- The newest verdict of each check on each scene. Of a version, so that a verdict on an older one is
-- never taken for one on the frame that counts.
CREATE TABLE frame_checks (
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    name                text NOT NULL,
    version             integer,            -- null: the scene has no frame
    passed              boolean NOT NULL,
    severity            text NOT NULL CHECK (severity IN ('error', 'warn')),
    words               text NOT NULL CHECK (length(words) <= 1000),
    checked_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, scene_id, name)
);
-- What was not looked at for longest comes first.
CREATE INDEX frame_checks_oldest ON frame_checks (name, checked_at);

-- When the truth sweep came by an address of which nobody could be asked, so that there is no verdict:
-- without this it would be the first again each time, and keep the sweep from all others.
CREATE TABLE unasked_addresses (
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    version             integer NOT NULL,
    tried_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, scene_id)
);

-- A verdict on an address holds for that address: where a version is healed, or moved to another
-- store, it is asked again.
CREATE FUNCTION frame_checks_forget_address() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM frame_checks c WHERE c.project_id = NEW.project_id AND c.scene_id = NEW.scene_id
        AND c.name = 'url_serves_the_stored_bytes' AND c.version = NEW.version;
    DELETE FROM unasked_addresses a
        WHERE a.project_id = NEW.project_id AND a.scene_id = NEW.scene_id;
    RETURN NULL;
END $$;
CREATE TRIGGER scene_images_forget_address AFTER UPDATE OF storage_url ON scene_images
    FOR EACH ROW WHEN (NEW.storage_url IS DISTINCT FROM OLD.storage_url)
    EXECUTE FUNCTION frame_checks_forget_address();

-- ------------------------------------------------------------------------------------------ the state

-- As before, with one more column: what is ready for video is said in one place.
CREATE OR REPLACE VIEW scene_status AS
SELECT s.project_id, p.key AS project_key, s.scene_id, s.position, s.scene_prompt,
       s.content, s.content_hash, s.locked, s.problem_code, s.problem_message,
       s.continuity_group, s.content_changed_at, s.wanted_at, s.want_attempts,
       p.auto_refresh, p.archived_at,
       CASE
           WHEN s.problem_code IS NOT NULL THEN 'invalid'
           WHEN is_blocking(o.error_code) THEN 'blocked'
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
        WHERE x.project_id = s.project_id AND x.scene_id = s.scene_id)::bigint AS cost_micros,
       g.fallback AS current_fallback,
       -- Whether the frame may go to video: its bytes are ours for good, and it was made from what
       -- the document says, or is meant whatever that says by now. A frame of older words is not.
       coalesce(i.storage_status = 'stored' AND s.problem_code IS NULL
           AND (s.locked OR c.is_chosen OR NOT c.is_stale), false) AS is_ready
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

-- ---------------------------------------------------------------------------------------- report files

-- Reports, pages and tables that were stored. The objects are never overwritten: a newer one has
-- another key, and the collector takes old ones as it takes old contact sheets.
CREATE TABLE report_files (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          uuid REFERENCES projects (id),      -- null: of all projects
    kind                text NOT NULL CHECK (kind IN ('storyboard_page', 'start_frames',
        'project_report_csv', 'project_report_parquet', 'project_models_csv',
        'project_models_parquet', 'project_failures_csv', 'project_failures_parquet',
        'portfolio_report_csv', 'portfolio_report_parquet', 'portfolio_models_csv',
        'portfolio_models_parquet', 'portfolio_days_csv', 'portfolio_days_parquet',
        'portfolio_report_chart')),
    storage_path        text NOT NULL REFERENCES storage_objects (key),
    storage_url         text NOT NULL,
    sha256              text NOT NULL,
    file_size           bigint NOT NULL,
    content_type        text NOT NULL,
    run_id              text,
    created_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX report_files_newest ON report_files (project_id, kind, id DESC);
CREATE INDEX report_files_object ON report_files (storage_path);
-- What reports count; the feed itself is mostly progress.
CREATE INDEX pipeline_events_failures ON pipeline_events (project_id, generation_id)
    WHERE kind = 'generation_failed';

-- ------------------------------------------------------------------------- storyboards and their pages

-- As before, but once per project and transaction: a planning that touches 5,000 scenes, or a move of
-- all addresses to another store, leaves one row. now() is when the transaction began, so it tells a
-- row of one's own; nobody waits for anybody here, as before.
CREATE FUNCTION note_storyboard_change(changed uuid) RETURNS void LANGUAGE sql AS $$
    INSERT INTO storyboard_changes (project_id)
    SELECT changed WHERE NOT EXISTS (SELECT 1 FROM storyboard_changes c
        WHERE c.project_id = changed AND c.looked_at = now());
$$;
CREATE OR REPLACE FUNCTION storyboard_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_storyboard_change(NEW.project_id);
    RETURN NULL;
END $$;

-- Every version stands on the page, not the current one alone.
CREATE TRIGGER scene_images_storyboard_of_others AFTER INSERT ON scene_images
    FOR EACH ROW WHEN (NOT NEW.is_current) EXECUTE FUNCTION storyboard_changed();
CREATE TRIGGER scene_images_storyboard_of_addresses AFTER UPDATE OF storage_url, storage_status
    ON scene_images
    FOR EACH ROW WHEN (NEW.storage_url <> OLD.storage_url
        OR NEW.storage_status <> OLD.storage_status)
    EXECUTE FUNCTION storyboard_changed();

-- How work on a scene ends, what holds it up, and what it has cost.
CREATE TRIGGER generations_storyboard AFTER UPDATE OF state, error_code, error_message, cost_micros,
        cost_kind, doubtful_micros ON generations
    FOR EACH ROW WHEN (
        (NEW.state <> OLD.state
            AND NEW.state IN ('published', 'superseded', 'failed', 'abandoned'))
        OR NEW.error_code IS DISTINCT FROM OLD.error_code
        OR NEW.error_message IS DISTINCT FROM OLD.error_message
        OR NEW.cost_micros IS DISTINCT FROM OLD.cost_micros
        OR NEW.cost_kind IS DISTINCT FROM OLD.cost_kind
        OR NEW.doubtful_micros <> OLD.doubtful_micros)
    EXECUTE FUNCTION storyboard_changed();
CREATE TRIGGER generations_storyboard_failed_at_once AFTER INSERT ON generations
    FOR EACH ROW WHEN (NEW.state = 'failed') EXECUTE FUNCTION storyboard_changed();

-- What the document says, once there is a page that says otherwise: a film that was just imported gets
-- its first one with its first frame or failure.
CREATE FUNCTION storyboard_outdated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_storyboard_change(NEW.project_id)
    FROM (SELECT 1 FROM storyboards b WHERE b.project_id = NEW.project_id LIMIT 1) shown;
    RETURN NULL;
END $$;
CREATE TRIGGER scenes_storyboard AFTER UPDATE OF content_hash, chosen_content_hash, locked ON scenes
    FOR EACH ROW WHEN (NEW.content_hash IS DISTINCT FROM OLD.content_hash
        OR NEW.chosen_content_hash IS DISTINCT FROM OLD.chosen_content_hash
        OR NEW.locked <> OLD.locked)
    EXECUTE FUNCTION storyboard_outdated();
CREATE FUNCTION storyboard_outdated_by_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_storyboard_change(NEW.id)
    FROM (SELECT 1 FROM storyboards b WHERE b.project_id = NEW.id LIMIT 1) shown;
    RETURN NULL;
END $$;
-- Every planning ends with the revision that it planned: scenes that are new, gone or in other places.
-- Our own write-back raises it as well; it comes with a version, which is noted anyway.
CREATE TRIGGER projects_storyboard AFTER UPDATE OF planned_revision, document_problem, auto_refresh
    ON projects
    FOR EACH ROW WHEN (NEW.planned_revision <> OLD.planned_revision
        OR NEW.document_problem IS DISTINCT FROM OLD.document_problem
        OR NEW.auto_refresh <> OLD.auto_refresh)
    EXECUTE FUNCTION storyboard_outdated_by_document();

-- Sheets that were made before had no page.
INSERT INTO storyboard_changes (project_id)
SELECT id FROM projects p WHERE archived_at IS NULL
    AND EXISTS (SELECT 1 FROM storyboards b WHERE b.project_id = p.id);

-- ------------------------------------------------------------- frames that may be another one by now

-- What a run makes or keeps, it tells by itself, unless it is killed before; what changes otherwise (a
-- version that is chosen, an address that moves, a scene that leaves the document or comes back) no
-- run tells. All of it is noted here, once per scene, until the project's next storyboard has seen
-- that it is told, or has told it.
CREATE TABLE untold_frames (
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    changed_at          timestamptz NOT NULL DEFAULT now(),
    made_version        integer,        -- the one that a run made last; null: none since it was told
    PRIMARY KEY (project_id, scene_id)
);
CREATE FUNCTION note_untold_frame() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO untold_frames (project_id, scene_id) VALUES (NEW.project_id, NEW.scene_id)
    ON CONFLICT (project_id, scene_id) DO UPDATE SET changed_at = excluded.changed_at;
    RETURN NULL;
END $$;
CREATE FUNCTION note_made_frame() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO untold_frames (project_id, scene_id, made_version)
    VALUES (NEW.project_id, NEW.scene_id, NEW.version)
    ON CONFLICT (project_id, scene_id) DO UPDATE
        SET changed_at = excluded.changed_at, made_version = excluded.made_version;
    RETURN NULL;
END $$;
-- Recording inserts its version as the current one; an older one becomes it by being chosen.
CREATE TRIGGER scene_images_made AFTER INSERT ON scene_images
    FOR EACH ROW WHEN (NEW.is_current) EXECUTE FUNCTION note_made_frame();
CREATE TRIGGER scene_images_chosen AFTER UPDATE OF is_current ON scene_images
    FOR EACH ROW WHEN (NEW.is_current AND NOT OLD.is_current)
    EXECUTE FUNCTION note_untold_frame();
CREATE TRIGGER scene_images_moved AFTER UPDATE OF storage_url ON scene_images
    FOR EACH ROW WHEN (NEW.is_current AND NEW.storage_url <> OLD.storage_url)
    EXECUTE FUNCTION note_untold_frame();
CREATE TRIGGER scenes_gone_or_back AFTER UPDATE OF retired_at ON scenes
    FOR EACH ROW WHEN ((NEW.retired_at IS NULL) <> (OLD.retired_at IS NULL))
    EXECUTE FUNCTION note_untold_frame();
