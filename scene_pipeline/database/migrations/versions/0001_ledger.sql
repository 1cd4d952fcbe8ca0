-- The first schema: projects, scenes, the ledger of generations, versions, budgets, events.
-- No extension is used, so that it runs on PostgreSQL 15 to 18 as they come.

CREATE TABLE projects (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key                 text NOT NULL UNIQUE CHECK (char_length(key) BETWEEN 1 AND 200),
    master_json         jsonb NOT NULL CHECK (jsonb_typeof(master_json) = 'object'),
    revision            bigint NOT NULL DEFAULT 1,
    planned_revision    bigint NOT NULL DEFAULT 0,
    -- The document as it was imported, byte for byte, and where it came from.
    imported_document   bytea,
    -- Ids of the scenes as the film has them: jsonb does not keep the order of members.
    scene_order         text[] NOT NULL DEFAULT '{}',
    imported_revision   bigint,
    origin              text,
    auto_refresh        boolean NOT NULL DEFAULT false,
    archived_at         timestamptz,
    -- A drill's own project: archived from the start, and removed as a whole.
    is_scratch          boolean NOT NULL DEFAULT false
                            CHECK (NOT is_scratch OR archived_at IS NOT NULL),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX projects_changed ON projects (id) WHERE revision > planned_revision;

-- Another program need only give `id` and `master_json`: a key is taken from the document where it
-- is free, else the id serves.
CREATE FUNCTION projects_fill_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wanted text;
BEGIN
    IF NEW.key IS NULL THEN
        wanted := NEW.master_json #>> '{project,key}';
        IF wanted IS NULL OR wanted !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'
           OR EXISTS (SELECT 1 FROM projects WHERE key = wanted) THEN
            wanted := NEW.id::text;
        END IF;
        NEW.key := wanted;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER projects_fill_key BEFORE INSERT ON projects
    FOR EACH ROW EXECUTE FUNCTION projects_fill_key();

-- A program that changes the document without raising the revision is noticed all the same.
CREATE FUNCTION projects_raise_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.key IS DISTINCT FROM OLD.key THEN
        RAISE EXCEPTION 'the key of a project never changes' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.revision = OLD.revision AND NEW.master_json IS DISTINCT FROM OLD.master_json THEN
        NEW.revision := OLD.revision + 1;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER projects_raise_revision BEFORE UPDATE ON projects
    FOR EACH ROW EXECUTE FUNCTION projects_raise_revision();

-- One scene of a document, in either form that `scenes` may have; NULL where there is none.
CREATE FUNCTION scene_entry(document jsonb, scene_id text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(document -> 'scenes')
        WHEN 'object' THEN document -> 'scenes' -> scene_id
        WHEN 'array' THEN (
            SELECT entry FROM jsonb_array_elements(document -> 'scenes') AS entry
            WHERE jsonb_typeof(entry) = 'object' AND entry ->> 'id' = scene_id LIMIT 1)
    END
$$;

-- Derived from the document by planning; never a second truth about prompts.
CREATE TABLE scenes (
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    position            integer NOT NULL,
    scene_prompt        text,
    -- What decides the picture's content, part by part, so that a stale frame can name its cause.
    content             jsonb NOT NULL DEFAULT '{}',
    content_hash        text,
    locked              boolean NOT NULL DEFAULT false,
    problem_code        text,
    problem_message     text,
    retired_at          timestamptz,
    planned_revision    bigint NOT NULL,
    PRIMARY KEY (project_id, scene_id),
    CHECK (problem_code IS NOT NULL OR content_hash IS NOT NULL)
);

-- The one register of what is stored. An 'intent' row is committed before every upload, so that
-- leftovers can be collected.
CREATE TABLE storage_objects (
    key                 text PRIMARY KEY CHECK (
                            char_length(key) <= 512 AND key ~ '^[a-z0-9][A-Za-z0-9/_.-]*$'
                            AND key !~ '(^|/)\.\.?(/|$)|//'),
    state               text NOT NULL DEFAULT 'intent'
                            CHECK (state IN ('intent', 'present', 'deleting', 'deleted')),
    sha256              text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes          bigint CHECK (size_bytes > 0),
    content_type        text,
    refcount            integer NOT NULL DEFAULT 0 CHECK (refcount >= 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    CHECK (state <> 'deleting' OR refcount = 0),
    CHECK (state <> 'present' OR (sha256 IS NOT NULL AND size_bytes IS NOT NULL))
);
-- What the collector looks through: never more than what nothing refers to.
CREATE INDEX storage_objects_unreferenced ON storage_objects (created_at)
    WHERE refcount = 0 AND state IN ('intent', 'present', 'deleting');

-- The ledger: one row is one thing worth paying for.
CREATE TABLE generations (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    seq                 bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    idempotency_key     text NOT NULL UNIQUE,
    token               text NOT NULL DEFAULT '',
    candidate_index     integer NOT NULL DEFAULT 0,
    run_id              text,

    provider            text NOT NULL,
    endpoint            text NOT NULL,
    scene_prompt        text NOT NULL,      -- the document's words: the guard of publishing
    prompt              text NOT NULL,      -- what was sent
    negative_prompt     text,
    content             jsonb NOT NULL,
    content_hash        text NOT NULL,
    request_hash        text NOT NULL,
    width               integer NOT NULL CHECK (width > 0),
    height              integer NOT NULL CHECK (height > 0),
    seed                bigint NOT NULL CHECK (seed BETWEEN 0 AND 2147483647),
    parameters          jsonb NOT NULL DEFAULT '{}',  -- steps, guidance, output format, arguments

    state               text NOT NULL DEFAULT 'planned' CHECK (state IN (
                            'planned', 'submitting', 'submitted', 'completed', 'stored', 'recorded',
                            'published', 'superseded', 'failed', 'abandoned')),
    submit_count        integer NOT NULL DEFAULT 0,
    max_submits         integer NOT NULL DEFAULT 1,
    -- Submits whose answer was lost for good and that were followed by another: what they may have
    -- cost is counted as spent, beside `cost_micros`.
    doubtful_submits    integer NOT NULL DEFAULT 0 CHECK (doubtful_submits >= 0),
    doubtful_micros     bigint NOT NULL DEFAULT 0 CHECK (doubtful_micros >= 0),
    doubtful_since      timestamptz,        -- when the first of them was sent
    request_id          text,
    status_url          text,
    response_url        text,
    cancel_url          text,
    result              jsonb,

    storage_status      text NOT NULL DEFAULT 'stored'
                            CHECK (storage_status IN ('stored', 'external')),
    storage_key         text REFERENCES storage_objects (key),
    -- Where the picture is while the store is down, until when, and how often healing was tried.
    external_url        text,
    external_expires_at timestamptz,
    heal_attempts       integer NOT NULL DEFAULT 0,
    heal_tried_at       timestamptz,
    heal_error_code     text,
    heal_error_message  text,
    -- Facts of the checked picture, kept from `stored` on so that recording needs no second look.
    image               jsonb,
    thumbnail           bytea CHECK (octet_length(thumbnail) <= 16384),

    estimated_micros    bigint NOT NULL DEFAULT 0 CHECK (estimated_micros >= 0),
    unit                text,
    unit_price_usd      numeric,
    billable_units      numeric,
    cost_micros         bigint CHECK (cost_micros >= 0),
    cost_kind           text CHECK (cost_kind IN ('estimated', 'metered', 'free')),

    error_code          text,
    error_message       text,
    error_next_action   text,
    error_retryable     boolean,
    error_charge        text CHECK (error_charge IN ('charged', 'not_charged', 'unknown')),

    created_at          timestamptz NOT NULL DEFAULT now(),
    submitting_at       timestamptz,
    submitted_at        timestamptz,
    completed_at        timestamptz,
    stored_at           timestamptz,
    recorded_at         timestamptz,
    finished_at         timestamptz,
    updated_at          timestamptz NOT NULL DEFAULT now(),

    FOREIGN KEY (project_id, scene_id) REFERENCES scenes (project_id, scene_id),
    CHECK (submit_count <= max_submits),
    CHECK (state NOT IN ('submitted', 'completed', 'stored', 'recorded', 'published')
           OR request_id IS NOT NULL),
    CHECK (state NOT IN ('stored', 'recorded', 'published')
           OR storage_key IS NOT NULL OR storage_status = 'external'),
    CHECK (storage_status = 'stored' OR external_url IS NOT NULL),
    CHECK (state <> 'failed' OR error_code IS NOT NULL)
);
CREATE UNIQUE INDEX generations_one_open ON generations (project_id, scene_id)
    WHERE state NOT IN ('published', 'superseded', 'failed', 'abandoned');
CREATE UNIQUE INDEX generations_request ON generations (provider, request_id)
    WHERE request_id IS NOT NULL;
CREATE INDEX generations_scene ON generations (project_id, scene_id, seq DESC);
CREATE INDEX generations_run ON generations (run_id) WHERE run_id IS NOT NULL;
-- Paid pictures that lie in the store and wait to be recorded.
CREATE INDEX generations_stored ON generations (storage_key) WHERE state = 'stored';

CREATE TABLE budgets (
    scope               text NOT NULL CHECK (scope IN ('run', 'project', 'day')),
    key                 text NOT NULL,
    period              text NOT NULL,
    cap_micros          bigint NOT NULL CHECK (cap_micros >= 0),
    is_custom           boolean NOT NULL DEFAULT false,
    reserved_micros     bigint NOT NULL DEFAULT 0 CHECK (reserved_micros >= 0),
    spent_micros        bigint NOT NULL DEFAULT 0 CHECK (spent_micros >= 0),
    PRIMARY KEY (scope, key, period)
);
-- Unit prices as the provider's price API told them; they win over the table that ships.
CREATE TABLE model_prices (
    provider            text NOT NULL,
    endpoint            text NOT NULL CHECK (char_length(endpoint) BETWEEN 1 AND 200),
    unit                text NOT NULL CHECK (unit IN ('megapixel', 'image', 'second')),
    unit_price_usd      numeric NOT NULL CHECK (unit_price_usd > 0 AND unit_price_usd <= 100),
    source              text NOT NULL,
    fetched_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, endpoint)
);
-- What a generation holds reserved, where; gone once it is settled or released.
CREATE TABLE budget_reservations (
    generation_id       uuid NOT NULL REFERENCES generations (id),
    scope               text NOT NULL,
    key                 text NOT NULL,
    period              text NOT NULL,
    amount_micros       bigint NOT NULL CHECK (amount_micros >= 0),
    PRIMARY KEY (generation_id, scope),
    FOREIGN KEY (scope, key, period) REFERENCES budgets (scope, key, period)
);

-- The lock that allocates versions; a version number is never used twice.
CREATE TABLE scene_heads (
    project_id          uuid NOT NULL,
    scene_id            text NOT NULL,
    last_version        integer NOT NULL DEFAULT 0,
    PRIMARY KEY (project_id, scene_id),
    FOREIGN KEY (project_id, scene_id) REFERENCES scenes (project_id, scene_id)
);

CREATE TABLE scene_images (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    storage_path        text UNIQUE REFERENCES storage_objects (key),
    storage_url         text NOT NULL,
    storage_status      text NOT NULL DEFAULT 'stored'
                            CHECK (storage_status IN ('stored', 'external')),
    external_expires_at timestamptz,
    file_size           bigint,
    content_type        text DEFAULT 'image/jpeg',
    width               integer,
    height              integer,
    sha256              text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    thumbnail           bytea CHECK (octet_length(thumbnail) <= 16384),
    generated_at        timestamptz NOT NULL DEFAULT now(),
    provider            text NOT NULL DEFAULT 'fal_ai_flux',
    generation_prompt   text,
    generation_id       uuid NOT NULL REFERENCES generations (id),
    image_index         integer NOT NULL DEFAULT 0,
    original_fal_url    text,
    fal_metadata        jsonb,
    rejection           text,               -- why it can never be promoted by itself
    version             integer NOT NULL CHECK (version >= 1),
    is_current          boolean NOT NULL,
    UNIQUE (project_id, scene_id, version),
    UNIQUE (generation_id, image_index),
    FOREIGN KEY (project_id, scene_id) REFERENCES scenes (project_id, scene_id),
    CHECK (storage_status = 'external' OR (
        storage_path IS NOT NULL AND sha256 IS NOT NULL AND file_size > 0
        AND content_type IN ('image/png', 'image/jpeg', 'image/webp')))
);
CREATE UNIQUE INDEX scene_images_one_current ON scene_images (project_id, scene_id)
    WHERE is_current;
-- What is to be healed, in the order in which it expires.
CREATE INDEX scene_images_external ON scene_images (external_expires_at)
    WHERE storage_status = 'external';

-- A version, once recorded, stays what it was: only its place in the line, its verdict and, when it
-- is healed, where its bytes are may change. Retention alone may do more, and says so first.
CREATE FUNCTION scene_images_keep() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE allowed scene_images;
BEGIN
    IF current_setting('scene_pipeline.retention', true) = 'on' THEN
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        allowed := OLD;
        allowed.is_current := NEW.is_current;
        allowed.rejection := NEW.rejection;
        allowed.storage_status := NEW.storage_status;
        allowed.storage_path := NEW.storage_path;
        allowed.storage_url := NEW.storage_url;
        allowed.external_expires_at := NEW.external_expires_at;
        allowed.original_fal_url := NEW.original_fal_url;
        IF OLD.storage_status = 'external' THEN  -- its bytes may be seen for the first time
            allowed.file_size := NEW.file_size;
            allowed.content_type := NEW.content_type;
            allowed.width := NEW.width;
            allowed.height := NEW.height;
            allowed.sha256 := NEW.sha256;
            allowed.thumbnail := NEW.thumbnail;
        END IF;
        IF NEW IS NOT DISTINCT FROM allowed THEN RETURN NEW; END IF;
    END IF;
    RAISE EXCEPTION 'a recorded version is never overwritten or deleted'
        USING ERRCODE = 'restrict_violation',
              HINT = 'Retention says SET LOCAL scene_pipeline.retention = ''on'' first.';
END $$;
CREATE TRIGGER scene_images_keep BEFORE UPDATE OR DELETE ON scene_images
    FOR EACH ROW EXECUTE FUNCTION scene_images_keep();
CREATE FUNCTION scene_images_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'recorded versions are never deleted' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER scene_images_refuse_truncate BEFORE TRUNCATE ON scene_images
    FOR EACH STATEMENT EXECUTE FUNCTION scene_images_refuse_truncate();

CREATE VIEW current_scene_images AS
SELECT project_id, scene_id, storage_url, generated_at, version, storage_status
FROM scene_images WHERE is_current;

CREATE FUNCTION get_scene_image_url(project_id uuid, scene_id text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT i.storage_url FROM scene_images i
    WHERE i.project_id = $1 AND i.scene_id = $2 AND i.is_current
$$;

-- A row asks for a new version; written by our doors or by any program with SQL.
CREATE TABLE regeneration_requests (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text NOT NULL,
    overrides           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object'),
    requested_by        text,
    reason              text,
    batch               text,               -- requests that were made by one command
    state               text NOT NULL DEFAULT 'pending'
                            CHECK (state IN ('pending', 'claimed', 'done', 'failed')),
    asked               integer NOT NULL DEFAULT 1,
    generation_id       uuid REFERENCES generations (id),
    created_at          timestamptz NOT NULL DEFAULT now(),
    finished_at         timestamptz
);
CREATE INDEX regeneration_requests_open ON regeneration_requests (project_id, scene_id, id)
    WHERE state IN ('pending', 'claimed');
CREATE INDEX regeneration_requests_batch ON regeneration_requests (project_id, scene_id, batch)
    WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX regeneration_requests_one_pending
    ON regeneration_requests (project_id, scene_id, md5(overrides::text)) WHERE state = 'pending';

-- Asked five times while pending is one generation, also for a plain INSERT of another program.
CREATE FUNCTION regeneration_requests_coalesce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Serialises requests for one scene, so that two at the same instant meet here.
    PERFORM pg_advisory_xact_lock(hashtextextended(
        'regenerate:' || NEW.project_id::text || '/' || NEW.scene_id, 0));
    UPDATE regeneration_requests SET asked = asked + 1
    WHERE project_id = NEW.project_id AND scene_id = NEW.scene_id AND state = 'pending'
      AND md5(overrides::text) = md5(NEW.overrides::text);
    IF FOUND THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER regeneration_requests_coalesce BEFORE INSERT ON regeneration_requests
    FOR EACH ROW WHEN (NEW.state = 'pending') EXECUTE FUNCTION regeneration_requests_coalesce();

-- Append-only; written in the same transaction as the change it tells of.
CREATE TABLE pipeline_events (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                  timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind                text NOT NULL,
    project_id          uuid NOT NULL REFERENCES projects (id),
    scene_id            text,
    generation_id       uuid REFERENCES generations (id),
    run_id              text,
    data                jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX pipeline_events_project ON pipeline_events (project_id, id);

-- A contact sheet per project and state of its frames.
CREATE TABLE storyboards (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          uuid NOT NULL REFERENCES projects (id),
    fingerprint         text NOT NULL,
    storage_path        text NOT NULL REFERENCES storage_objects (key),
    storage_url         text NOT NULL,
    sha256              text NOT NULL,
    file_size           bigint NOT NULL,
    width               integer NOT NULL,
    height              integer NOT NULL,
    run_id              text,
    created_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX storyboards_project ON storyboards (project_id, id DESC);

-- The state of every scene, computed and never stored; every door reads this one view.
CREATE VIEW scene_status AS
SELECT s.project_id, p.key AS project_key, s.scene_id, s.position, s.scene_prompt,
       s.content, s.content_hash, s.locked, s.problem_code, s.problem_message,
       CASE
           WHEN s.problem_code IS NOT NULL THEN 'invalid'
           WHEN o.error_code IN ('budget_exhausted', 'price_unknown') THEN 'blocked'
           WHEN o.state = 'submitting' AND (o.error_code = 'submit_ambiguous'
                OR o.submitting_at < now() - interval '5 minutes') THEN 'ambiguous'
           WHEN o.id IS NOT NULL THEN 'generating'
           WHEN i.id IS NULL AND l.state = 'failed' THEN 'failed'
           WHEN i.id IS NULL THEN 'missing'
           WHEN s.locked THEN 'locked'
           WHEN g.content_hash <> s.content_hash THEN 'stale'
           WHEN i.storage_status = 'external' THEN 'external'
           ELSE 'current'
       END AS state,
       CASE WHEN g.content_hash <> s.content_hash THEN (
           SELECT array_agg(part ORDER BY part) FROM jsonb_object_keys(s.content) AS part
           WHERE s.content -> part IS DISTINCT FROM g.content -> part)
       END AS stale_causes,
       i.id AS image_id, i.version, i.storage_url, i.storage_path, i.storage_status,
       i.generated_at, g.id AS current_generation_id, g.content_hash AS current_content_hash,
       o.id AS open_generation_id, o.state AS open_state,
       l.id AS last_generation_id, l.state AS last_state,
       l.content_hash AS last_content_hash, l.error_retryable AS last_error_retryable,
       l.error_charge AS last_error_charge, l.error_code, l.error_message, l.error_next_action,
       -- What is under way keeps the wishes that it was planned with.
       r.id AS request_id, coalesce(a.overrides, r.overrides) AS request_overrides,
       (SELECT coalesce(sum(coalesce(c.cost_micros, 0) + c.doubtful_micros), 0) FROM generations c
        WHERE c.project_id = s.project_id AND c.scene_id = s.scene_id)::bigint AS cost_micros
FROM scenes s
JOIN projects p ON p.id = s.project_id
LEFT JOIN scene_images i ON i.project_id = s.project_id AND i.scene_id = s.scene_id AND i.is_current
LEFT JOIN generations g ON g.id = i.generation_id
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
