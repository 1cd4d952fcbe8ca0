"""`assets add`: files of this machine and addresses, each with a result of its own.

Belongs here: files, and what is said of everything together. Does not belong here: how addresses
are imported (`cli.assets_add`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from scene_pipeline.cli.assets_add import add_urls, is_address, outcome_json
from scene_pipeline.cli.assets_advice import advise
from scene_pipeline.cli.assets_words import read_kind
from scene_pipeline.cli.import_progress import size_words, tell_import
from scene_pipeline.cli.session import database_in_words, in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, error_json, plain
from scene_pipeline.cli.wording import marks, style_of
from scene_pipeline.database.imports import ImportRequest
from scene_pipeline.database.projects import get_project
from scene_pipeline.errors import ScenePipelineError, UsageError
from scene_pipeline.pipeline.library.adding import AddedAsset, AssetDetails, add_file
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
class _FileResult:
    source: str
    kind: AssetKind
    added: AddedAsset | None = None
    error: ScenePipelineError | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be added, with what was looked up for it."""

    arguments: AddArguments
    project_id: UUID | None
    kind: AssetKind | None
    """None: as each name suggests, and the bytes then bear out."""

    def kind_of(self, source: str) -> AssetKind:
        return self.kind or _suggested_kind(source)


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
        results = _add_files(terminal, settings, urls, files, wanted)
        outcomes = _add_addresses(terminal, settings, urls, addresses, wanted)
        brought = [*(result.added for result in results), *outcomes]
        advise(terminal, urls.application, arguments.replace, brought)
    if terminal.is_json:
        listed = [_result_json(r) for r in results] + [outcome_json(o) for o in outcomes]
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


def _add_files(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    files: Sequence[str],
    wanted: _Wanted,
) -> list[_FileResult]:
    if not files:
        return []

    def tell(result: _FileResult) -> None:
        _tell_file(terminal, result)

    with database_in_words():
        return asyncio.run(_files(settings, urls.application, files, wanted, tell))


async def _files(
    settings: Settings,
    database_url: str,
    files: Sequence[str],
    wanted: _Wanted,
    tell: Callable[[_FileResult], None],
) -> list[_FileResult]:
    """Add files side by side, as many as there are workers to look at them."""
    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy

    arguments = wanted.arguments
    asked_at = datetime.now(UTC)
    async with open_services(settings, database_url) as services:
        gate = asyncio.Semaphore(settings.decode_workers)

        async def add_one(source: str) -> _FileResult:
            details = AssetDetails(
                kind=wanted.kind_of(source),
                name=arguments.name or "",
                source="file",
                tags=arguments.tags,
                project_id=wanted.project_id,
                client_id=arguments.client_id,
                campaign_id=arguments.campaign_id,
            )
            async with gate:
                try:
                    added = await add_file(
                        services,
                        Path(source),
                        details,
                        asked_at=asked_at,
                        replace=arguments.replace,
                    )
                    result = _FileResult(source, added.kind, added)
                except ScenePipelineError as error:
                    result = _FileResult(source, details.kind, error=error)
            tell(result)
            return result

        return list(await asyncio.gather(*(add_one(source) for source in files)))


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


def _tell_file(terminal: Terminal, result: _FileResult) -> None:
    added, error = result.added, result.error
    status = "failed" if added is None else "generated" if added.is_new else "kept"
    mark = marks(terminal.console.encoding)[status]
    words = "" if error is None else f"[{error.error_code}] {error.message} {error.next_action}"
    if added is not None:
        there = "" if added.is_new else "there already as "
        words = f"{there}{added.asset_id} ({added.mime_type}, {size_words(added.size_bytes)})"
        words += f"; {', '.join(added.notes)}" if added.notes else ""
    terminal.say(plain(f"{mark} {result.source}  {words}"), style=style_of(status))


def _result_json(result: _FileResult) -> dict[str, Any]:
    added, error = result.added, result.error
    return {
        "import_id": None,
        "source": result.source,
        "kind": result.kind,
        "status": "failed" if added is None else "new" if added.is_new else "duplicate",
        "asset_id": added.asset_id if added else None,
        "url": added.url if added else None,
        "mime_type": added.mime_type if added else None,
        "size_bytes": added.size_bytes if added else None,
        "width": added.width if added else None,
        "height": added.height if added else None,
        "sha256": added.sha256 if added else None,
        "notes": list(added.notes) if added else [],
        "error": error_json(error) if error else None,
    }
