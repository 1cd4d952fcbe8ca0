"""Which store a library is brought to: a URL, and the variables that belong to it.

Belongs here: reading the options and the file of variables. Does not belong here: copying
(`pipeline.upkeep.storage_copy`).
"""

from pathlib import Path

from scene_pipeline.errors import UsageError
from scene_pipeline.settings import Settings, load_settings

_OF_A_STORE = ("s3_", "gcs_")
_TAKEN_ALONG = ("url_mode", "signing_key", "public_url")
"""Read from the file where it has them; else as they are set."""
MAX_FILE_BYTES = 1024 * 1024


def target_settings(url: str, env_file: Path | None) -> Settings:
    """The settings as they would be with that store.

    Args:
        url: As SCENE_PIPELINE_STORAGE would say it.
        env_file: Holds the target's S3_* and GCS_* variables. None of this process's own reaches
            the target then, so that no key is shown to a server that it does not belong to.

    Raises:
        UsageError: The file cannot be read.
        ConfigurationError: A variable in it cannot be used.
    """
    if env_file is None:
        return load_settings(storage_url=url)
    given = _read(env_file)
    values: dict[str, object] = {"storage_url": url}
    for name, field in Settings.model_fields.items():
        value = given.get(str(field.validation_alias)) or None
        if name.startswith(_OF_A_STORE) or (name in _TAKEN_ALONG and value is not None):
            values[name] = value
    return load_settings(**values)


def _read(env_file: Path) -> dict[str, str | None]:
    from dotenv import dotenv_values  # noqa: PLC0415  # where used

    try:
        if env_file.stat().st_size > MAX_FILE_BYTES:
            raise _unusable(env_file, "it is larger than 1 MiB")
        with env_file.open(encoding="utf-8") as lines:
            return dotenv_values(stream=lines, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _unusable(env_file, reason or "it cannot be read") from error


def _unusable(env_file: Path, reason: str) -> UsageError:
    return UsageError(
        f"--to-env {env_file} cannot be used: {reason}.",
        code="target_env_unreadable",
        next_action="Write the target's variables into a file, one NAME=value per line.",
    )
