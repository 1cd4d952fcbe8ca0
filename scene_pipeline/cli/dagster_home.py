"""Dagster's home: where `run`, `up` and every Dagster process find the same instance.

Belongs here: its directory, its dagster.yaml, and the variables that lead there. Does not belong
here: Dagster itself (`defs`).

Unless the user has set DAGSTER_HOME, it is `<home>/dagster` with a copy of the shipped
dagster.yaml, which is kept equal to it: to change it, copy it elsewhere and set DAGSTER_HOME.
"""

import os
from pathlib import Path

import scene_pipeline
from scene_pipeline.cli.files import write_atomically
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings

HOME_VARIABLE = "DAGSTER_HOME"
DATABASE_VARIABLE = "DAGSTER_DATABASE_URL"
INSTANCE_FILE = "dagster.yaml"
WORKSPACE_FILE = "workspace.yaml"


def shipped_file(name: str) -> Path:
    """One of the two files for Dagster: in the installed package, or at the repository's top.

    Raises:
        ConfigurationError: The installation is incomplete.
    """
    package = Path(scene_pipeline.__file__).parent
    for place in (package / "cli" / "deployment" / name, package.parent / name):
        if place.is_file():
            return place
    raise ConfigurationError(
        f"{name} is missing from the installation.",
        code="installation_incomplete",
        next_action="Install Scene Pipeline again.",
    )


def dagster_home(settings: Settings) -> Path:
    """The directory of Dagster's instance, absolute."""
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    return settings.home_directory / "dagster"


def is_own_home() -> bool:
    """Whether the instance's configuration is ours to write."""
    return not os.environ.get(HOME_VARIABLE)


def prepare_dagster_home(settings: Settings, database_url: str) -> dict[str, str]:
    """Write the instance's configuration and give the variables that lead to it.

    Args:
        settings: Of this process.
        database_url: `postgresql+psycopg2://...`. It holds a password: for an environment only.

    Returns:
        Variables for this process's environment or a child's.

    Raises:
        ConfigurationError: The directory cannot be written.
    """
    directory = dagster_home(settings)
    if is_own_home():
        wanted = shipped_file(INSTANCE_FILE).read_bytes()
        place = directory / INSTANCE_FILE
        if not place.is_file() or place.read_bytes() != wanted:
            write_atomically(place, wanted)
    return {
        HOME_VARIABLE: str(directory),
        DATABASE_VARIABLE: database_url,
        # Children may be started elsewhere; a relative path would then name another place.
        "SCENE_PIPELINE_HOME": str(settings.home_directory),
    }
