"""Whether a `.env` file can be read to its last line.

Belongs here: that. Does not belong here: what its lines mean (`settings`).
"""

from pathlib import Path

from scene_pipeline.errors import ConfigurationError


def check_env_file(path: Path) -> None:
    """Refuse a file of which a line would be passed over in silence: it may hold a cap.

    Args:
        path: The file; that there is none is no error.

    Raises:
        ConfigurationError: code "env_file_invalid", with the line where it is one.
    """
    from dotenv.parser import parse_stream  # noqa: PLC0415  # where used

    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8") as file:
            broken = [entry.original.line for entry in parse_stream(file) if entry.error]
    except UnicodeDecodeError as error:
        raise _unusable_env_file("it is not UTF-8") from error
    except OSError as error:
        raise _unusable_env_file((error.strerror or "it cannot be read").lower()) from error
    if broken:
        raise _unusable_env_file(f"line {broken[0]} is not of the form NAME=value")


def _unusable_env_file(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The file .env of this directory cannot be used: {reason}.",
        code="env_file_invalid",
        next_action="Correct it as .env.example shows, or move it away.",
    )
