-- The library: everything that people keep besides generated frames, and how it comes in. Generated
-- frames stand in `scene_images`; both refer to `storage_objects`, the one register of what is stored.

-- -------------------------------------------------------------------------------------- user assets

CREATE TABLE user_assets (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Opaque and stable: it survives another name, another place and another picture.
    asset_id            text NOT NULL UNIQUE CHECK (asset_id ~ '^ast_[0-9a-hj-km-np-tv-z]{26}$'),
    user_id             text,
    client_id           text,
    campaign_id         text,
    project_id          uuid REFERENCES projects (id),     -- NULL: of no project, for all of them
    name                text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 300),
    kind                text NOT NULL CHECK (kind IN (
                            'image', 'video', 'audio', 'document',
                            'element_image', 'scene_video', 'final_render')),
    tags                text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 100),
    CHECK (coalesce(array_ndims(tags), 1) = 1 AND array_position(tags, NULL) IS NULL),
    url                 text NOT NULL,                      -- permanent
    storage_key         text NOT NULL REFERENCES storage_objects (key),
    mime_type           text NOT NULL,
    width               integer CHECK (width > 0),
    height              integer CHECK (height > 0),
    size_bytes          bigint NOT NULL CHECK (size_bytes > 0),
    sha256              text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- Kept as it is, and never a frame or a reference.
    is_animated         boolean NOT NULL DEFAULT false,
    -- How often its bytes were replaced by others, from 1.
    content_version     integer NOT NULL DEFAULT 1 CHECK (content_version >= 1),
    source              text NOT NULL CHECK (source IN ('file', 'url', 'upload')),
    source_url          text,
    -- What a picture that one of our models made says of itself.
    model               text,
    seed                bigint CHECK (seed >= 0),
    metadata            jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    -- A tombstone: nothing shows it any more; its bytes are the collector's after the grace period.
    deleted_at          timestamptz
);
-- The same bytes are kept once in one place of the library.
CREATE UNIQUE INDEX user_assets_content ON user_assets (
        sha256, kind, coalesce(project_id, '00000000-0000-0000-0000-000000000000'),
        coalesce(client_id, ''), coalesce(campaign_id, ''), coalesce(user_id, ''))
    WHERE deleted_at IS NULL;

-- What a search for words looks through. It is dear, and said to be so: a planner that took it for
-- cheap walked through the newest 10,000 rows and computed it for each (112 ms instead of 2).
CREATE FUNCTION asset_words(name text, tags text[], source_url text, metadata jsonb)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 2000 AS $$
    -- Bounded each: a tsvector holds a megabyte, and a row must not fail for its words.
    SELECT to_tsvector('simple'::regconfig, name || ' ' || regexp_replace(name, '[^[:alnum:]]+', ' ', 'g'))
        || to_tsvector('simple'::regconfig, array_to_string(tags, ' ') || ' '
            || regexp_replace(array_to_string(tags, ' '), '[^[:alnum:]]+', ' ', 'g'))
        || to_tsvector('simple'::regconfig,
            regexp_replace(left(coalesce(source_url, ''), 10000), '[^[:alnum:]]+', ' ', 'g'))
        || jsonb_to_tsvector('simple'::regconfig, metadata, '["string"]')
$$;
-- In a language that is not unfolded into the question, so that its price counts.
CREATE FUNCTION frame_words(scene_id text, prompt text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 2000 AS $$
BEGIN
    RETURN to_tsvector('simple'::regconfig, scene_id || ' '
        || regexp_replace(scene_id, '[^[:alnum:]]+', ' ', 'g') || ' '
        || left(coalesce(prompt, ''), 100000));  -- a tsvector holds a megabyte
END $$;

-- Pages of the library, newest first; each question has the index that answers it.
CREATE INDEX user_assets_newest ON user_assets (created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX user_assets_project ON user_assets (project_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX user_assets_kind ON user_assets (kind, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX user_assets_words ON user_assets
    USING gin (asset_words(name, tags, source_url, metadata)) WHERE deleted_at IS NULL;
CREATE INDEX user_assets_tags ON user_assets USING gin (tags) WHERE deleted_at IS NULL;
CREATE INDEX user_assets_model ON user_assets (model, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND model IS NOT NULL;
CREATE INDEX user_assets_seed ON user_assets (seed) WHERE deleted_at IS NULL AND seed IS NOT NULL;
CREATE INDEX user_assets_user ON user_assets (user_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND user_id IS NOT NULL;
CREATE INDEX user_assets_object ON user_assets (storage_key);
CREATE INDEX user_assets_client ON user_assets (client_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND client_id IS NOT NULL;
CREATE INDEX user_assets_campaign ON user_assets (campaign_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND campaign_id IS NOT NULL;
-- The same bytes anywhere else share their object.
CREATE INDEX storage_objects_content ON storage_objects (sha256) WHERE state = 'present';
-- Whatever a drill made is shown to nobody.
CREATE INDEX projects_scratch ON projects (id) WHERE is_scratch;
CREATE INDEX scene_images_newest ON scene_images (generated_at DESC, id DESC)
    WHERE storage_status <> 'removed';
CREATE INDEX scene_images_project_newest ON scene_images (project_id, generated_at DESC, id DESC)
    WHERE storage_status <> 'removed';
CREATE INDEX scene_images_words ON scene_images USING gin (frame_words(scene_id, generation_prompt))
    WHERE storage_status <> 'removed';
CREATE INDEX generations_endpoint ON generations (endpoint, seq DESC);
CREATE INDEX generations_seed ON generations (seed);

-- ---------------------------------------------------------------------------------------- derivatives

-- Smaller or other forms of a stored picture, whoever it belongs to: made once per object.
CREATE TABLE derivatives (
    source_key          text NOT NULL REFERENCES storage_objects (key),
    form                text NOT NULL CHECK (form IN ('thumbnail', 'webp')),
    storage_key         text NOT NULL REFERENCES storage_objects (key),
    content_type        text NOT NULL,
    width               integer NOT NULL CHECK (width > 0),
    height              integer NOT NULL CHECK (height > 0),
    size_bytes          bigint NOT NULL CHECK (size_bytes > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_key, form)
);
CREATE INDEX derivatives_object ON derivatives (storage_key);
-- What is collected takes its derivatives along: they lose their reference in the same transaction,
-- and are collected themselves after their own period of grace.
CREATE FUNCTION release_derivatives() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (DELETE FROM derivatives WHERE source_key = NEW.key RETURNING storage_key)
    UPDATE storage_objects o SET refcount = o.refcount - c.n, created_at = now()
    FROM (SELECT storage_key, count(*) AS n FROM gone GROUP BY storage_key) c
    WHERE o.key = c.storage_key;
    RETURN NULL;
END $$;
CREATE TRIGGER storage_objects_release_derivatives AFTER UPDATE OF state ON storage_objects
    FOR EACH ROW WHEN (NEW.state = 'deleting' AND OLD.state <> 'deleting')
    EXECUTE FUNCTION release_derivatives();

CREATE INDEX storyboards_object ON storyboards (storage_path);

-- ------------------------------------------------------------------------------------------- imports

-- One row is one thing that is to come into the library through a Dagster run, or by an upload.
CREATE TABLE asset_imports (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    seq                 bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    batch_id            uuid NOT NULL DEFAULT gen_random_uuid(),    -- what was asked for together
    user_id             text,
    client_id           text,
    campaign_id         text,
    project_id          uuid REFERENCES projects (id),
    kind                text NOT NULL CHECK (kind IN (
                            'image', 'video', 'audio', 'document',
                            'element_image', 'scene_video', 'final_render')),
    name                text CHECK (char_length(name) BETWEEN 1 AND 300),
    tags                text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 100),
    CHECK (coalesce(array_ndims(tags), 1) = 1 AND array_position(tags, NULL) IS NULL),
    metadata            jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    -- The asset that is to have these bytes.
    replace_asset_id    text REFERENCES user_assets (asset_id),
    source              text NOT NULL CHECK (source IN ('url', 'upload')),
    source_url          text,
    -- Of an upload: where it arrives, and what was permitted.
    upload_key          text UNIQUE CHECK (upload_key ~ '^uploads/'),
    upload_content_type text,
    upload_max_bytes    bigint,
    state               text NOT NULL DEFAULT 'pending' CHECK (state IN (
                            'awaiting_upload', 'pending', 'running', 'done', 'failed', 'expired')),
    -- When a run is to be launched for it (again), and how often that was done.
    due_at              timestamptz NOT NULL DEFAULT now(),
    attempts            integer NOT NULL DEFAULT 0,
    launch_id           uuid,                               -- what one run was asked to import
    run_id              text,                               -- the run that worked on it last
    bytes_received      bigint NOT NULL DEFAULT 0 CHECK (bytes_received >= 0),
    bytes_total         bigint,                             -- as the other side announced it
    asset_id            text REFERENCES user_assets (asset_id),
    is_duplicate        boolean NOT NULL DEFAULT false,     -- the library had these bytes already
    error_code          text,
    error_message       text,
    error_next_action   text,
    error_retryable     boolean,
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CHECK ((source = 'url') = (source_url IS NOT NULL)),
    CHECK ((source = 'upload') = (upload_key IS NOT NULL)),
    CHECK ((source = 'upload') = (upload_content_type IS NOT NULL)),
    CHECK ((source = 'upload') = (upload_max_bytes IS NOT NULL) AND upload_max_bytes > 0),
    CHECK (state NOT IN ('awaiting_upload', 'expired') OR source = 'upload'),
    CHECK (state <> 'done' OR asset_id IS NOT NULL),
    CHECK (state <> 'failed' OR error_code IS NOT NULL)
);
CREATE INDEX asset_imports_due ON asset_imports (due_at) WHERE state IN ('pending', 'running');
CREATE INDEX asset_imports_launch ON asset_imports (launch_id) WHERE launch_id IS NOT NULL;
CREATE INDEX asset_imports_unconfirmed ON asset_imports (created_at) WHERE state = 'awaiting_upload';
CREATE INDEX asset_imports_same ON asset_imports (md5(source_url))
    WHERE state IN ('pending', 'running');
CREATE INDEX asset_imports_batch ON asset_imports (batch_id, seq);
CREATE INDEX asset_imports_project ON asset_imports (project_id, seq DESC);

-- Events of the library: of no project, or of no generation.
ALTER TABLE pipeline_events
    ALTER COLUMN project_id DROP NOT NULL,
    ADD COLUMN import_id uuid REFERENCES asset_imports (id);
CREATE INDEX pipeline_events_import ON pipeline_events (import_id, id) WHERE import_id IS NOT NULL;

-- ---------------------------------------------------------------------------------------- references

-- What is known of a picture that a document names, by its name there. The digest takes part in the
-- content of every scene that names it; what was known last stays while nothing better is known.
CREATE TABLE reference_pictures (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          uuid NOT NULL REFERENCES projects (id),
    reference           text NOT NULL CHECK (char_length(reference) BETWEEN 1 AND 4000),
    asset_id            text,                               -- of the library, where it is named so
    storage_key         text,                               -- of ours; NULL for a foreign address
    sha256              text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    content_type        text,
    width               integer,
    height              integer,
    size_bytes          bigint,
    -- What a foreign server said of its version, so that it need not be fetched again.
    etag                text,
    last_modified       text,
    -- Why it cannot be sent, where it cannot.
    problem_code        text,
    problem_message     text,
    problem_next_action text,
    checked_at          timestamptz NOT NULL DEFAULT now(),
    CHECK (problem_code IS NOT NULL OR sha256 IS NOT NULL),
    CHECK ((problem_code IS NULL) = (problem_message IS NULL))
);
-- By its digest: a long name of other letters than ASCII does not fit into an index.
CREATE UNIQUE INDEX reference_pictures_name ON reference_pictures (project_id, md5(reference));
CREATE INDEX reference_pictures_asset ON reference_pictures (asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX reference_pictures_object ON reference_pictures (storage_key)
    WHERE storage_key IS NOT NULL;

-- ------------------------------------------------------------------------------- per project settings

ALTER TABLE projects
    -- NULL: as the settings of the installation say.
    ADD COLUMN keep_versions integer CHECK (keep_versions >= 1),
    ADD COLUMN keep_days numeric CHECK (keep_days >= 0),
    -- Who else may make a frame where the first one fails for a reason that allows it, in order:
    -- [{"provider": ..., "model": ...}]
    ADD COLUMN fallbacks jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(fallbacks) = 'array');
ALTER TABLE generations
    -- Where one of them makes it: {"number": 1, "of": 2, "because": ...}, the place in the list of
    -- that time and what came of those before it, in words.
    ADD COLUMN fallback jsonb;

-- ------------------------------------------------------------------------------------------- storage

-- The store of last resort: bytes in the database itself.
CREATE TABLE asset_blobs (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key                 text NOT NULL UNIQUE CHECK (char_length(key) <= 512),
    data                bytea NOT NULL,
    content_type        text NOT NULL,
    size_bytes          bigint NOT NULL CHECK (size_bytes = octet_length(data)),
    sha256              text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    created_at          timestamptz NOT NULL DEFAULT now()
);
-- Pictures do not get smaller; uncompressed, a part can be read without the whole.
ALTER TABLE asset_blobs ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX asset_blobs_prefix ON asset_blobs (key text_pattern_ops);

-- What `storage copy` has brought to another store and verified there, so that it goes on where it
-- was interrupted.
CREATE TABLE storage_copies (
    target              text NOT NULL,                      -- the other store, without credentials
    key                 text NOT NULL REFERENCES storage_objects (key),
    copied_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, key)
);
CREATE INDEX storage_copies_key ON storage_copies (key);
-- Where versions could be had before the library moved: still our addresses, wherever one turns up
-- (a file that was exported before, an editor's old copy).
CREATE TABLE former_addresses (
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    url                 text NOT NULL,
    PRIMARY KEY (project_id, scene_id, url)
);

-- ------------------------------------------------------------------------------------------ the state

-- Whether an error keeps a scene from being made until somebody or something changes a fact.
CREATE FUNCTION is_blocking(error_code text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(error_code IN ('budget_exhausted', 'price_unknown', 'continuity_broken',
                                   'provider_busy', 'references_unsupported')
                    OR error_code ~ '^reference_|_(key|token)_missing$', false)
$$;

DROP VIEW scene_status;
-- The state of every scene, computed and never stored; every door reads this one view.
CREATE VIEW scene_status AS
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
       g.fallback AS current_fallback
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
