"""Servers that the contract suites share."""

from scene_pipeline_tests.standins.rclone import rclone
from scene_pipeline_tests.standins.seaweedfs import seaweedfs

__all__ = ["rclone", "seaweedfs"]
