"""Imports from a real site on loopback, driven from synchronous tests.

Belongs here: asking for imports and carrying them out. Does not belong here: Dagster, which tests
of `defs` drive.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene_pipeline.database.imports import (
    AskedImports,
    ImportRequest,
    ask_for_imports,
    list_imports,
)
from scene_pipeline.pipeline.library.import_events import ImportEvent, ImportOutcome
from scene_pipeline.pipeline.library.imports import import_all
from scene_pipeline.pipeline.services import Services
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.keys import CONTENT_TYPES
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.standins.hostile_http import HostileServer, Script, answer


def site(files: Mapping[str, Script], **scripts: Script) -> HostileServer:
    """A site that gives these files, by path, with the type of their names."""
    served: dict[str, Script] = {}
    for path, body in files.items():
        kind = CONTENT_TYPES.get(path.rpartition(".")[2].partition("?")[0], "image/png")
        served[path] = answer(body, Content_Type=kind) if isinstance(body, bytes) else body
    return HostileServer({**served, **scripts})


def settings_for(server: HostileServer, home: Path, **overrides: Any) -> Settings:
    """Settings of an installation that may import from the site."""
    place = f"127.0.0.1:{server.port}"
    given = {"home": home, "asset_host_allowlist": place, "trusted_private_hosts": place}
    return load_settings(**(given | overrides))


@dataclass
class ImportDesk:
    """Asks for imports, and carries them out as a run does."""

    studio: Studio
    server: HostileServer | None = None
    """Whose paths are asked for."""
    told: list[ImportEvent] = field(default_factory=list)

    def ask(self, *addresses: str, **details: Any) -> AskedImports:
        """Ask for paths of the site, or for whole addresses."""
        requests = [
            ImportRequest(
                self.server.url(address) if self.server and address[0] == "/" else address,
                **{"kind": "image", **details},
            )
            for address in addresses
        ]

        async def work(services: Services) -> AskedImports:
            async with services.pool.connection() as conn:
                return await ask_for_imports(conn, requests)

        return self.studio.do(work)

    def carry_out(self, run_id: str | None = None) -> dict[str, ImportOutcome]:
        """Import everything that is open; outcomes by the end of what they came from."""

        async def work(services: Services) -> list[ImportOutcome]:
            async def at_once(_seconds: float) -> None:
                return

            services.sleep = at_once
            async with services.pool.connection() as conn:
                rows = await list_imports(conn, limit=1000)
            rows = [row for row in reversed(rows) if row.state in ("pending", "running")]
            run = run_id or str(uuid.uuid4())
            return await import_all(services, rows, run_id=run, tell=self.told.append)

        return {one.source.rpartition("/")[2]: one for one in self.studio.do(work)}

    def rows(self) -> list[dict[str, Any]]:
        return self.studio.sql(
            "SELECT *, due_at > now() + interval '50 s' AS is_put_off FROM asset_imports"
            " ORDER BY seq"
        )

    def events(self) -> list[str]:
        """How imports went; what happened to assets is told besides."""
        found = self.studio.sql(
            "SELECT kind FROM pipeline_events WHERE import_id IS NOT NULL"
            " AND starts_with(kind, 'upload_') ORDER BY id"
        )
        return [row["kind"] for row in found]
