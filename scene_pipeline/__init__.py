"""Scene Pipeline: turns the prompts of a master JSON into permanent, versioned frames.

Data flows down through the packages, and imports point down only:
`definitions` and `defs` (Dagster), `cli` and `api` (the other two doors), `pipeline` (use cases),
then `providers`, `media`, `storage` and `database`, and at the bottom `scenes` (pure).
`settings` and `errors` stand beside them and import none of them.
"""

from importlib.metadata import version

__version__ = version("scene-pipeline")
