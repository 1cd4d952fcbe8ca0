"""Servers that the contract suites share."""

from scene_pipeline_tests.standins.seaweedfs import seaweedfs

__all__ = ["seaweedfs"]
