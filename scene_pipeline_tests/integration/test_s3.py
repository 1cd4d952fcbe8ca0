"""The stream with a real S3 server as the place where frames are kept."""

import io
from pathlib import Path

import pytest
from PIL import Image

from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS


@pytest.mark.parametrize("is_https", [False, True], ids=["http", "https"])
def test_frames_are_kept_in_a_bucket(
    is_https: bool, seaweedfs: SeaweedFS, database_url: str, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(tmp_path / "home", is_https=is_https)
    studio = Studio(settings, database_url)
    studio.bring(film([f"Scene number {n}" for n in range(12)]))

    first = studio.run()
    second = studio.run()

    assert set(first.statuses.values()) == {"generated"}
    assert set(second.statuses.values()) == {"kept"}
    store = build_store(settings)
    for outcome in first.outcomes.values():
        assert outcome.frame is not None
        assert outcome.frame.storage_path is not None
        assert outcome.frame.url == store.url(outcome.frame.storage_path)
        with Image.open(io.BytesIO(store.read(outcome.frame.storage_path))) as image:
            image.load()
    assert_invariants(studio)
