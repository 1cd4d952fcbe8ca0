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
