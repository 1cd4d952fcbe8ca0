"""Which variables reach the store that a library is brought to."""

from pathlib import Path

import pytest

from scene_pipeline.cli.storage_target import MAX_FILE_BYTES, target_settings
from scene_pipeline.errors import ConfigurationError, UsageError
from scene_pipeline.storage.registry import store_identity


def test_without_a_file_only_the_url_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://s3.example.org")
    monkeypatch.setenv("S3_BUCKET", "old")

    target = target_settings("s3://new", None)

    assert target.s3_endpoint_url == "https://s3.example.org"
    assert store_identity(target) == "s3://new at https://s3.example.org"


def test_with_a_file_no_variable_of_the_store_in_use_reaches_the_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://s3.example.org")
    monkeypatch.setenv("S3_ACCESS_KEY_ID", "old-key")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "old-secret")
    monkeypatch.setenv("S3_PUBLIC_BASE_URL", "https://old-cdn.example.org")
    monkeypatch.setenv("SCENE_PIPELINE_PUBLIC_URL", "https://films.example.org")
    file = tmp_path / "there.env"
    file.write_text(
        "# the new one\nS3_ACCESS_KEY_ID=new-key\nexport S3_SECRET_ACCESS_KEY='new $secret'\n"
        "S3_REGION=\nSCENE_PIPELINE_URL_MODE=gateway\nSCENE_PIPELINE_STORAGE=s3://not-this\n"
    )

    target = target_settings("s3://new", file)

    assert (target.s3_access_key_id, target.s3_secret_access_key) == ("new-key", "new $secret")
    assert (target.s3_endpoint_url, target.s3_public_base_url, target.s3_region) == (
        None,
        None,
        None,
    )
    assert (target.url_mode, target.public_url) == ("gateway", "https://films.example.org")
    assert target.resolved_storage_url == "s3://new"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * (MAX_FILE_BYTES + 1)])
def test_a_file_that_cannot_be_used_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "there.env"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UsageError, match=r"there\.env") as caught:
        target_settings("s3://new", file)

    assert caught.value.error_code == "target_env_unreadable"


def test_a_value_that_cannot_be_used_is_named_by_its_variable(tmp_path: Path) -> None:
    file = tmp_path / "there.env"
    file.write_text("SCENE_PIPELINE_URL_MODE=sideways\n")

    with pytest.raises(ConfigurationError, match="SCENE_PIPELINE_URL_MODE"):
        target_settings("s3://new", file)
