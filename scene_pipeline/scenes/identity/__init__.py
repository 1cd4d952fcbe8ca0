"""The one place that builds identifiers and paths.

Belongs here: partition keys, slugs, storage keys, derived seeds, and their limits. Does not belong
here: who uses them, and hashes of content (`scenes.hashes`).
"""

from scene_pipeline.scenes.identity.partitions import (
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
    DOCTOR_PREFIX,
    KEY_DIGITS,
    MAX_KEY_DIGITS,
    PROJECTS_PREFIX,
    derivative_storage_key,
    frame_storage_key,
    is_storage_key,
    sheet_storage_key,
    storage_key_time,
)

__all__ = [
    "DOCTOR_PREFIX",
    "KEY_DIGITS",
    "MAX_KEY_DIGITS",
    "PROJECTS_PREFIX",
    "derivative_storage_key",
    "derive_seed",
    "fixed_seed",
    "frame_storage_key",
    "is_storage_key",
    "next_seed",
    "parse_partition_key",
    "parse_project_partition_key",
    "partition_key",
    "project_key_from_filename",
    "project_key_problem",
    "project_partition_key",
    "scene_id_problem",
    "sheet_storage_key",
    "slug",
    "storage_key_time",
]
