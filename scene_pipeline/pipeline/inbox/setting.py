"""Which inbox is watched: the setting, and whether the place is fit for it.

Belongs here: from SCENE_PIPELINE_INBOX to a source. Does not belong here: what a source does.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.errors import ConfigurationError, ScenePipelineError
from scene_pipeline.findings import Finding
from scene_pipeline.pipeline.inbox.bucket import BucketInbox
from scene_pipeline.pipeline.inbox.folder import FolderInbox
from scene_pipeline.pipeline.inbox.sources import InboxSource
from scene_pipeline.settings import Settings
from scene_pipeline.storage.registry import parse_storage_url
from scene_pipeline.storage.s3_client import S3Patience, build_s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

IN_A_TICK = S3Patience(connect_seconds=3, read_seconds=10, attempts=1)
"""A tick is short, and the next one tries again."""

_BUCKET_SCHEME = "s3://"
_FORMS = "Name a folder, or s3://bucket/prefix."


def open_inbox(
    settings: Settings, build_client: "Callable[[S3Patience], S3Client] | None" = None
) -> InboxSource | None:
    """The inbox that the setting names, or None; nothing is contacted yet.

    Args:
        settings: SCENE_PIPELINE_INBOX, and the S3 settings for a bucket.
        build_client: For the door that has the bucket's credentials in another form.

    Raises:
        ConfigurationError: The setting, or one of S3, cannot be used.
    """
    if settings.inbox is None:
        return None
    if not is_bucket(settings.inbox):
        return FolderInbox(_folder(settings.inbox))
    location = parse_storage_url(settings.inbox)
    client = (
        build_client(IN_A_TICK)
        if build_client is not None
        else build_s3_client(settings, patience=IN_A_TICK)
    )
    return BucketInbox(client, location.bucket, location.prefix)


def is_bucket(setting: str) -> bool:
    """Whether the setting names a bucket, where looking costs a request."""
    return setting.startswith(_BUCKET_SCHEME)


def diagnose_inbox(settings: Settings) -> Finding | None:
    """Try that the inbox can be read and written to; None where none is watched."""
    try:
        source = open_inbox(settings)
        if source is None:
            return None
        with closing(source):
            source.probe()
            return Finding(
                "inbox",
                is_ok=True,
                detail=f"Documents in {source.address} are imported under `up`.",
            )
    except ScenePipelineError as error:
        return Finding("inbox", is_ok=False, detail=error.message, cure=error.next_action)


def _folder(setting: str) -> Path:
    folder: Path | None = Path(setting).expanduser()
    if setting.startswith("file:"):
        folder = parse_storage_url(setting).directory
    elif "://" in setting or "\0" in setting:
        folder = None
    if folder is None:
        raise ConfigurationError(
            "SCENE_PIPELINE_INBOX names no place that can be watched.",
            code="inbox_invalid",
            next_action=_FORMS,
        )
    return folder
