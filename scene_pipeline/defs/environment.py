"""Settings that Dagster's definitions are built with, read once when the code location loads.

Belongs here: reading them so that a bad variable never takes the UI away. Does not belong here:
settings of runs and ticks, which are read when these begin and fail them with their reason.
"""

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings, load_settings


def settings_at_load() -> Settings:
    """The settings, or the defaults of those that definitions use where they cannot be read.

    A bad variable then fails every run and tick with its own sentence.
    """
    try:
        return load_settings()
    except ConfigurationError:
        return Settings.model_construct()
