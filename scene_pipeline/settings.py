"""The one place that knows the environment: every variable the program reads, with its default.

Belongs here: names, types, defaults, and values derived from them alone. Does not belong here:
anything that opens a connection. `.env.example` explains each variable to the user; a test keeps
the two lists equal.
"""

from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scene_pipeline.env_file import check_env_file
from scene_pipeline.errors import ConfigurationError

DEFAULT_FAL_MODEL = "fal-ai/flux/schnell"
CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Everything that can be set from outside, read once per process.

    Fields are named for the code; `validation_alias` is the environment variable. Secrets are kept
    out of `repr`.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        # Never by field name: HOME and MODEL would then be read as ours.
        populate_by_name=False,
        env_ignore_empty=True,
        # What is set wrongly may be a key; Dagster shows the whole chain of an error.
        hide_input_in_errors=True,
    )

    # Where things live
    home: Path = Field(Path(".scene-pipeline"), validation_alias="SCENE_PIPELINE_HOME")
    database_url: str | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    dagster_database_url: str | None = Field(
        None, validation_alias="DAGSTER_DATABASE_URL", repr=False
    )
    public_url: str = Field("http://127.0.0.1:8420", validation_alias="SCENE_PIPELINE_PUBLIC_URL")
    api_token: str | None = Field(
        None, min_length=16, validation_alias="SCENE_PIPELINE_API_TOKEN", repr=False
    )
    dagster_port: int = Field(3000, ge=1, le=65535, validation_alias="SCENE_PIPELINE_DAGSTER_PORT")
    inbox: str | None = Field(None, validation_alias="SCENE_PIPELINE_INBOX")

    # Storage: SCENE_PIPELINE_STORAGE wins, else S3_BUCKET, else GCS_BUCKET, else files under `home`
    storage_url: str | None = Field(None, validation_alias="SCENE_PIPELINE_STORAGE")
    s3_bucket: str | None = Field(None, validation_alias="S3_BUCKET")
    s3_region: str | None = Field(None, validation_alias="S3_REGION")
    s3_access_key_id: str | None = Field(None, validation_alias="S3_ACCESS_KEY_ID", repr=False)
    s3_secret_access_key: str | None = Field(
        None, validation_alias="S3_SECRET_ACCESS_KEY", repr=False
    )
    s3_endpoint_url: str | None = Field(None, validation_alias="S3_ENDPOINT_URL")
    s3_public_base_url: str | None = Field(None, validation_alias="S3_PUBLIC_BASE_URL")
    s3_upload_acl: str | None = Field(None, validation_alias="S3_UPLOAD_ACL")
    s3_cache_control: str | None = Field(None, validation_alias="S3_CACHE_CONTROL")
    gcs_bucket: str | None = Field(None, validation_alias="GCS_BUCKET")
    gcs_service_account_json: str | None = Field(
        None, validation_alias="GCS_SERVICE_ACCOUNT_JSON", repr=False
    )
    gcs_endpoint_url: str | None = Field(None, validation_alias="GCS_ENDPOINT_URL")
    url_mode: Literal["public", "cdn", "gateway"] | None = Field(
        None, validation_alias="SCENE_PIPELINE_URL_MODE"
    )
    signing_key: str | None = Field(
        None, min_length=16, validation_alias="SCENE_PIPELINE_SIGNING_KEY", repr=False
    )
    collect_grace_hours: float = Field(
        24.0, ge=1, le=100_000, validation_alias="SCENE_PIPELINE_COLLECT_GRACE_HOURS"
    )
    keep_versions: int = Field(
        10, ge=1, le=100_000, validation_alias="SCENE_PIPELINE_KEEP_VERSIONS"
    )
    keep_days: float = Field(30.0, ge=0, le=100_000, validation_alias="SCENE_PIPELINE_KEEP_DAYS")

    # What schedules do by themselves
    reconcile_apply: bool = Field(True, validation_alias="SCENE_PIPELINE_RECONCILE_APPLY")
    collect_apply: bool = Field(False, validation_alias="SCENE_PIPELINE_COLLECT_APPLY")

    # Generation
    fal_key: str | None = Field(None, validation_alias="FAL_KEY", repr=False)
    fal_use_upload: bool = Field(False, validation_alias="FAL_USE_UPLOAD")
    replicate_api_token: str | None = Field(
        None, validation_alias="REPLICATE_API_TOKEN", repr=False
    )
    pollinations_api_key: str | None = Field(
        None, validation_alias="POLLINATIONS_API_KEY", repr=False
    )
    provider: str | None = Field(None, validation_alias="SCENE_PIPELINE_PROVIDER")
    model: str | None = Field(None, validation_alias="SCENE_PIPELINE_MODEL")
    image_size: str = Field("landscape_16_9", validation_alias="SCENE_PIPELINE_IMAGE_SIZE")
    steps: int | None = Field(None, ge=1, le=200, validation_alias="SCENE_PIPELINE_STEPS")
    seed_policy: Literal["random", "fixed", "reuse", "increment"] = Field(
        "random", validation_alias="SCENE_PIPELINE_SEED_POLICY"
    )
    output_format: Literal["png", "jpeg"] = Field(
        "jpeg", validation_alias="SCENE_PIPELINE_OUTPUT_FORMAT"
    )
    generation_timeout_seconds: float = Field(
        900.0, gt=0, validation_alias="SCENE_PIPELINE_GENERATION_TIMEOUT_SECONDS"
    )
    submit_timeout_seconds: float = Field(
        60.0, gt=0, validation_alias="SCENE_PIPELINE_SUBMIT_TIMEOUT_SECONDS"
    )
    ambiguous_settle_seconds: float = Field(
        1200.0, ge=0, validation_alias="SCENE_PIPELINE_AMBIGUOUS_SETTLE_SECONDS"
    )
    ambiguous_patience_seconds: float = Field(
        60.0, ge=0, validation_alias="SCENE_PIPELINE_AMBIGUOUS_PATIENCE_SECONDS"
    )
    start_timeout_seconds: float = Field(
        300.0, gt=1, validation_alias="SCENE_PIPELINE_START_TIMEOUT_SECONDS"
    )
    rejection_reseeds: int = Field(
        1, ge=0, le=5, validation_alias="SCENE_PIPELINE_REJECTION_RESEEDS"
    )
    rejection_fallback_model: str | None = Field(
        None, validation_alias="SCENE_PIPELINE_REJECTION_FALLBACK_MODEL"
    )
    reuse_across_projects: bool = Field(
        False, validation_alias="SCENE_PIPELINE_REUSE_ACROSS_PROJECTS"
    )
    on_ambiguous: Literal["wait", "pay_again"] = Field(
        "wait", validation_alias="SCENE_PIPELINE_ON_AMBIGUOUS"
    )
    ambiguous_wait_minutes: float = Field(
        30.0, ge=0, le=100_000, validation_alias="SCENE_PIPELINE_AMBIGUOUS_WAIT_MINUTES"
    )

    # Money
    project_cap_usd: Decimal = Field(
        Decimal(5), ge=0, validation_alias="SCENE_PIPELINE_PROJECT_CAP_USD"
    )
    day_cap_usd: Decimal = Field(Decimal(20), ge=0, validation_alias="SCENE_PIPELINE_DAY_CAP_USD")
    prices_file: Path | None = Field(None, validation_alias="SCENE_PIPELINE_PRICES_FILE")
    allow_unknown_price: bool = Field(False, validation_alias="SCENE_PIPELINE_ALLOW_UNKNOWN_PRICE")

    # Bounds of the stream
    generation_concurrency: int = Field(
        16, ge=1, le=512, validation_alias="SCENE_PIPELINE_GENERATION_CONCURRENCY"
    )
    provider_concurrency: int = Field(
        32, ge=0, le=1000, validation_alias="SCENE_PIPELINE_PROVIDER_CONCURRENCY"
    )
    download_concurrency: int = Field(
        8, ge=1, le=64, validation_alias="SCENE_PIPELINE_DOWNLOAD_CONCURRENCY"
    )
    decode_workers: int = Field(2, ge=1, le=64, validation_alias="SCENE_PIPELINE_DECODE_WORKERS")
    upload_concurrency: int = Field(
        8, ge=1, le=64, validation_alias="SCENE_PIPELINE_UPLOAD_CONCURRENCY"
    )
    scenes_per_run: int = Field(
        500, ge=1, le=5000, validation_alias="SCENE_PIPELINE_SCENES_PER_RUN"
    )

    # What runs by itself
    sensor_interval_seconds: int = Field(
        3, ge=1, le=3600, validation_alias="SCENE_PIPELINE_SENSOR_INTERVAL_SECONDS"
    )
    auto_refresh_quiet_seconds: float = Field(
        120.0, ge=0, le=86_400, validation_alias="SCENE_PIPELINE_AUTO_REFRESH_QUIET_SECONDS"
    )

    # What is looked at, and shown
    check_urls: bool = Field(True, validation_alias="SCENE_PIPELINE_CHECK_URLS")
    truth_sweep_requests: int = Field(
        200, ge=0, le=10_000, validation_alias="SCENE_PIPELINE_TRUTH_SWEEP_REQUESTS"
    )
    owners: CommaSeparated = Field(("team:film",), validation_alias="SCENE_PIPELINE_OWNERS")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", validation_alias="SCENE_PIPELINE_LOG_LEVEL"
    )
    log_format: Literal["text", "json"] = Field(
        "text", validation_alias="SCENE_PIPELINE_LOG_FORMAT"
    )
    telemetry: bool = Field(False, validation_alias="SCENE_PIPELINE_TELEMETRY")
    otlp_endpoint: str = Field(
        "http://127.0.0.1:4318", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )

    # The way out
    egress_proxy: str | None = Field(
        None, validation_alias="SCENE_PIPELINE_EGRESS_PROXY", repr=False
    )
    ssl_cert_file: Path | None = Field(None, validation_alias="SSL_CERT_FILE")
    asset_host_allowlist: CommaSeparated = Field((), validation_alias="ASSET_HOST_ALLOWLIST")
    trusted_private_hosts: CommaSeparated = Field(
        (), validation_alias="SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS"
    )
    asset_max_image_mb: int = Field(25, ge=1, le=200, validation_alias="ASSET_MAX_IMAGE_MB")
    asset_max_download_mb: int = Field(100, ge=1, le=5000, validation_alias="ASSET_MAX_DOWNLOAD_MB")
    asset_max_file_mb: int = Field(2048, ge=1, le=5000, validation_alias="ASSET_MAX_FILE_MB")
    asset_allow_svg: bool = Field(False, validation_alias="ASSET_ALLOW_SVG")
    reference_check_seconds: float = Field(
        600.0, ge=0, le=86_400, validation_alias="SCENE_PIPELINE_REFERENCE_CHECK_SECONDS"
    )
    embed_metadata: bool = Field(True, validation_alias="SCENE_PIPELINE_EMBED_METADATA")
    alert_webhook_url: str | None = Field(
        None, validation_alias="SCENE_PIPELINE_ALERT_WEBHOOK_URL", repr=False
    )

    # Tests and drills
    failpoint: str | None = Field(None, validation_alias="SCENE_PIPELINE_FAILPOINT")

    @field_validator("asset_host_allowlist", "trusted_private_hosts", "owners", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("public_url")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @cached_property
    def home_directory(self) -> Path:
        """Absolute path of the project's data directory."""
        return self.home.expanduser().absolute()

    @property
    def uses_embedded_database(self) -> bool:
        """Whether PostgreSQL is ours to start: true unless DATABASE_URL is set."""
        return self.database_url is None

    @property
    def provider_name(self) -> str:
        """The provider that is used when neither project, scene nor command names one."""
        return self.provider or ("fal" if self.fal_key else "offline")

    @property
    def resolved_storage_url(self) -> str:
        """The object store as one URL: `s3://`, `gs://`, `file://`, `database://`, `memory://`."""
        if self.storage_url:
            return self.storage_url
        if self.s3_bucket:
            return f"s3://{self.s3_bucket}"
        if self.gcs_bucket:
            return f"gs://{self.gcs_bucket}"
        return (self.home_directory / "frames").as_uri()


def load_settings(**overrides: object) -> Settings:
    """Read the environment once.

    Args:
        **overrides: Field values that win over the environment, by field name.

    Raises:
        ConfigurationError: A variable has a value that cannot be used, or `.env` a line that cannot
            be read; names the variable or the line.
    """
    env_file = Settings.model_config["env_file"]
    if isinstance(env_file, str):
        check_env_file(Path(env_file))
    fields = Settings.model_fields
    given = {str(fields[name].validation_alias): value for name, value in overrides.items()}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # values are checked by pydantic
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].replace("Input should", "it should").removeprefix("Value error, ")
        message = f"{name} cannot be used: {reason.rstrip('.')}."
        raise ConfigurationError(
            message, code="setting_invalid", next_action="See .env.example for what it takes."
        ) from error
