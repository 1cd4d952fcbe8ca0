"""`storage copy`: a library moves to another store.

Belongs here: opening both stores. Does not belong here: copying (`pipeline.upkeep.storage_copy`),
words (`cli.copy_words`).
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.copy_progress import CopyDisplay
from scene_pipeline.cli.copy_words import StoreNames, copy_json, show_copy
from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.storage_target import target_settings
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.errors import DatabaseError, UsageError
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyReport


@dataclass(frozen=True, slots=True)
class CopyArguments:
    """What stands on the command line."""

    url: str
    env_file: Path | None = None
    verify: bool = False
    trusts_addresses: bool = False
    """Whether the new addresses are written unseen."""

    @property
    def words(self) -> list[str]:
        """The same command again."""
        return [
            "storage",
            "copy",
            "--to",
            self.url,
            *([] if self.env_file is None else ["--to-env", str(self.env_file)]),
            *(["--verify"] if self.verify else []),
            *(["--trust-addresses"] if self.trusts_addresses else []),
        ]


def copy_library(terminal: Terminal, arguments: CopyArguments) -> int:
    """Copy, correct, and tell; returns the exit code: 1 while anything is missing.

    Raises:
        UsageError: A store cannot be used, or another copy is under way.
    """
    settings = load_settings()
    target = target_settings(arguments.url, arguments.env_file)
    with open_databases(settings, terminal) as urls, CopyDisplay(terminal) as display:
        names, report = asyncio.run(_copy(settings, urls.application, target, arguments, display))
    if terminal.is_json:
        terminal.document(copy_json(report, names))
    else:
        show_copy(terminal, report, names, arguments.words)
    return 0 if report.is_complete else 1


async def _copy(
    settings: Settings,
    database_url: str,
    target_settings: Settings,
    arguments: CopyArguments,
    display: CopyDisplay,
) -> "tuple[StoreNames, CopyReport]":
    import psycopg  # noqa: PLC0415  # where used

    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy
    from scene_pipeline.pipeline.upkeep.storage_copy import copy_storage  # noqa: PLC0415
    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyTarget  # noqa: PLC0415
    from scene_pipeline.storage.anonymous import AnonymousReader  # noqa: PLC0415
    from scene_pipeline.storage.registry import build_store, store_identity  # noqa: PLC0415

    names = StoreNames(
        store_identity(settings),
        store_identity(target_settings),
        target_settings.resolved_storage_url,
    )
    if names.target.startswith("memory:"):
        raise UsageError(
            "A store in memory keeps nothing.",
            code="storage_target_invalid",
            next_action="Name a store that lasts with --to.",
        )
    store = build_store(target_settings, database_url=database_url)
    target = CopyTarget(
        store,
        names.target,
        target_settings.public_url,
        names.is_same,
        reader=None if arguments.trusts_addresses else AnonymousReader(target_settings),
    )
    try:
        async with open_services(settings, database_url) as services:
            report = await copy_storage(services, target, verify=arguments.verify, tell=display)
    except psycopg.OperationalError as error:
        raise DatabaseError(
            "The database stopped answering.",
            next_action="See that it runs (`scene-pipeline doctor`), then run the command again:"
            " it goes on where it was.",
        ) from error
    finally:
        store.close()
    return names, report
