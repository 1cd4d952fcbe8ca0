"""Servers that the contract suites share."""

from scene_pipeline_tests.open_library import (
    library,
    library_site,
    shared_library,
    slow_file,
)
from scene_pipeline_tests.standins.rclone import rclone
from scene_pipeline_tests.standins.seaweedfs import seaweedfs

__all__ = ["library", "library_site", "rclone", "seaweedfs", "shared_library", "slow_file"]
