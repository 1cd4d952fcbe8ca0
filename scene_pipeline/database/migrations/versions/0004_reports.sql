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

-- ---------------------------------------------------------------------------------------- report files

-- Reports, pages and tables that were stored. The objects are never overwritten: a newer one has
-- another key, and the collector takes old ones as it takes old contact sheets.
CREATE TABLE report_files (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          uuid REFERENCES projects (id),      -- null: of all projects
    kind                text NOT NULL CHECK (kind IN ('storyboard_page', 'start_frames',
        'project_report_csv', 'project_report_parquet', 'portfolio_report_csv',
        'portfolio_report_parquet', 'portfolio_report_chart')),
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
