"""The one place that builds identifiers and paths.

Belongs here: partition keys, slugs, storage keys, derived seeds, and their limits. Does not belong
here: who uses them, and hashes of content (`scenes.hashes`).
"""

from scene_pipeline.scenes.identity.library_keys import (
    ASSET_KINDS,
    DERIVED_PREFIX,
    MEDIA_OF_KIND,
    UPLOADS_PREFIX,
    AssetKind,
    LibraryKind,
    MediaType,
    asset_storage_key,
    derived_asset_key,
    frame_asset_id,
    is_asset_id,
    new_asset_id,
    parse_frame_asset_id,
    upload_storage_key,
)
from scene_pipeline.scenes.identity.partitions import (
    library_partition_key,
    parse_library_partition_key,
    parse_partition_key,
    parse_project_partition_key,
    partition_key,
    project_key_from_filename,
    project_key_problem,
    project_partition_key,
    scene_id_problem,
)
from scene_pipeline.scenes.identity.seeds import (
    derive_seed,
    fixed_seed,
    next_seed,
)
from scene_pipeline.scenes.identity.slugs import (
    slug,
)
from scene_pipeline.scenes.identity.storage_keys import (
    ASSETS_PREFIX,
    DOCTOR_PREFIX,
    KEY_DIGITS,
    MAX_KEY_DIGITS,
    PROJECTS_PREFIX,
    READABLE_PREFIXES,
    REPORTS_PREFIX,
    frame_storage_key,
    is_report_page,
    is_storage_key,
    report_storage_key,
    sheet_storage_key,
    storage_key_time,
)

__all__ = [
    "ASSETS_PREFIX",
    "ASSET_KINDS",
    "DERIVED_PREFIX",
    "DOCTOR_PREFIX",
    "KEY_DIGITS",
    "MAX_KEY_DIGITS",
    "MEDIA_OF_KIND",
    "PROJECTS_PREFIX",
    "READABLE_PREFIXES",
    "REPORTS_PREFIX",
    "UPLOADS_PREFIX",
    "AssetKind",
    "LibraryKind",
    "MediaType",
    "asset_storage_key",
    "derive_seed",
    "derived_asset_key",
    "fixed_seed",
    "frame_asset_id",
    "frame_storage_key",
    "is_asset_id",
    "is_report_page",
    "is_storage_key",
    "library_partition_key",
    "new_asset_id",
    "next_seed",
    "parse_frame_asset_id",
    "parse_library_partition_key",
    "parse_partition_key",
    "parse_project_partition_key",
    "partition_key",
    "project_key_from_filename",
    "project_key_problem",
    "project_partition_key",
    "report_storage_key",
    "scene_id_problem",
    "sheet_storage_key",
    "slug",
    "storage_key_time",
    "upload_storage_key",
]
