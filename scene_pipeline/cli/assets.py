"""`assets add`: files of this machine and addresses, each with a result of its own.

Belongs here: the options, and what is said of everything together. Does not belong here: files
(`cli.assets_files`) and how addresses are imported (`cli.assets_add`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from scene_pipeline.cli.assets_add import add_urls, is_address, outcome_json
from scene_pipeline.cli.assets_advice import advise
from scene_pipeline.cli.assets_files import add_files, file_result_json
from scene_pipeline.cli.assets_words import read_kind
from scene_pipeline.cli.import_progress import tell_import
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.database.imports import ImportRequest
from scene_pipeline.database.projects import get_project
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.adding import AssetDetails
from scene_pipeline.pipeline.library.import_events import UNFINISHED_IMPORTS, ImportOutcome
from scene_pipeline.pipeline.library.removing import require_asset
from scene_pipeline.scenes.identity import AssetKind
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.keys import CONTENT_TYPES

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.database.session import DatabaseUrls

EXIT_UNFINISHED = 1
_MEDIA_KINDS: tuple[AssetKind, ...] = ("image", "video", "audio")


@dataclass(frozen=True, slots=True)
class AddArguments:
    """What the command line said."""

    sources: tuple[str, ...]
    """Files and addresses."""
    kind: str | None
    name: str | None
    tags: tuple[str, ...]
    project_key: str | None
    client_id: str | None
    campaign_id: str | None
    replace: str | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be added, with what was looked up for it."""

    arguments: AddArguments
    project_id: UUID | None
    kind: AssetKind | None
    """None: as each name suggests, and the bytes then bear out."""

    def kind_of(self, source: str) -> AssetKind:
        return self.kind or _suggested_kind(source)

    def details_of(self, source: str) -> AssetDetails:
        return AssetDetails(
            kind=self.kind_of(source),
            name=self.arguments.name or "",
            source="file",
            tags=self.arguments.tags,
            project_id=self.project_id,
            client_id=self.arguments.client_id,
            campaign_id=self.arguments.campaign_id,
        )


def add(terminal: Terminal, arguments: AddArguments) -> int:
    """Add everything, tell what became of each, and give the exit code.

    Raises:
        UsageError: The options contradict each other; nothing was added.
        NotFoundError: There is no such project or asset.
    """
    _check(arguments)
    kind = read_kind(arguments.kind)
    settings = load_settings()
    files = [source for source in arguments.sources if not is_address(source)]
    addresses = [source for source in arguments.sources if is_address(source)]

    async def look_up(conn: "Connection") -> _Wanted:
        key = arguments.project_key
        project_id = None if key is None else (await get_project(conn, key)).id
        if arguments.replace is None:
            return _Wanted(arguments, project_id, kind)
        row = await require_asset(conn, arguments.replace)
        if row.kind == "frame":
            return _Wanted(arguments, project_id, kind)  # refused with its reason where it is tried
        return _Wanted(arguments, row.project_id, row.kind)

    with open_databases(settings, terminal) as urls:
        wanted = in_database(urls.application, look_up)
        results = add_files(
            terminal,
            settings,
            urls.application,
            files,
            details_of=wanted.details_of,
            replace=arguments.replace,
        )
        outcomes = _add_addresses(terminal, settings, urls, addresses, wanted)
        brought = [*(result.added for result in results), *outcomes]
        advise(terminal, urls.application, arguments.replace, brought)
    if terminal.is_json:
        listed = [file_result_json(r) for r in results] + [outcome_json(o) for o in outcomes]
        terminal.document({"project": arguments.project_key, "assets": listed})
    is_finished = all(r.error is None for r in results) and all(
        outcome.status not in UNFINISHED_IMPORTS for outcome in outcomes
    )
    return 0 if is_finished else EXIT_UNFINISHED


def _check(arguments: AddArguments) -> None:
    if arguments.name is not None and len(arguments.sources) > 1:
        raise _usage("--name is the name of one thing.", "Add them one by one, or leave it out.")
    if arguments.replace is None:
        return
    if len(arguments.sources) > 1:
        raise _usage("One file at most can replace an asset.", "Name one.")
    own = (arguments.name, arguments.kind, arguments.project_key)
    if any(given is not None for given in (*own, arguments.client_id, arguments.campaign_id)):
        raise _usage(
            "An asset that is replaced keeps its name, kind and place.",
            "Give --replace and --tag only.",
        )


def _usage(message: str, next_action: str) -> UsageError:
    return UsageError(message, code="usage", next_action=next_action)


def _add_addresses(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    addresses: Sequence[str],
    wanted: _Wanted,
) -> list[ImportOutcome]:
    if not addresses:
        return []
    arguments = wanted.arguments
    requests = [
        ImportRequest(
            address,
            wanted.kind_of(_path_of(address)),
            name=arguments.name,
            tags=arguments.tags,
            project_id=wanted.project_id,
            client_id=arguments.client_id,
            campaign_id=arguments.campaign_id,
            replace_asset_id=arguments.replace,
        )
        for address in addresses
    ]
    outcomes = add_urls(terminal, settings, urls, requests)
    if terminal.is_live:  # else each was a line already when it ended
        for outcome in outcomes:
            tell_import(terminal, outcome)
    return outcomes


def _path_of(address: str) -> str:
    """The path of an address; none of one that cannot be read, which its import then tells."""
    try:
        return urlsplit(address).path
    except ValueError:
        return ""


def _suggested_kind(source: str) -> AssetKind:
    """What a name suggests; what the file really is decides, and a contradiction is an error."""
    media = CONTENT_TYPES.get(Path(source).suffix.lower().removeprefix("."), "image/")
    name = media.partition("/")[0]
    return next((kind for kind in _MEDIA_KINDS if kind == name), "document")
