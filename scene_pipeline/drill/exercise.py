"""One drill from its scratch project to its verdicts, and the removal of all of it.

The real pipeline, fal-client included, works on the user's own database and object store; only the
image service is the stand-in, which this process runs itself. Nothing costs money or leaves the
machine for it: the key is the stand-in's, the only way out is its proxy, and even the model's name
is one that no real service has.
"""

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from scene_pipeline.database.scratch import (
    ScratchProject,
    claim_scratch,
    find_scratch,
    mark_scratch,
)
from scene_pipeline.database.session import open_pool
from scene_pipeline.drill.events import DrillStep, ScenarioTold, Tell
from scene_pipeline.drill.evidence import Bill, Evidence, gather
from scene_pipeline.drill.outage import OutageStore
from scene_pipeline.drill.removal import Removed, remove_project
from scene_pipeline.drill.scenarios import Scenario, Script
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.drill.verdicts import Verdict, judge
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneRef
from scene_pipeline.pipeline.projects.importing import import_document
from scene_pipeline.pipeline.services import Services, open_services
from scene_pipeline.providers.prices import Price
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore

MODEL = "scene-pipeline/drill"
"""No service has it: whoever else took the scratch project up could not pay for anything."""
UNIT_PRICE_USD = Decimal("0.003")
"""For each megapixel, as the cheapest of Fal's models; only the stand-in is paid with it."""
DOWNLOAD_SECONDS = 5.0
"""Shorter than for real downloads, which may be slow for honest reasons."""
_SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What a drill showed."""

    key: str
    verdicts: tuple[Verdict, ...]
    metered: Bill
    recorded: Bill
    seconds: float
    removed: Removed | None
    """None where the project was to be kept."""

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """Promises that did not hold."""
        return tuple(verdict for verdict in self.verdicts if not verdict.is_held)


def drill(
    settings: Settings,
    database_url: str,
    store: ObjectStore,
    scenarios: tuple[Scenario, ...],
    *,
    is_kept: bool = False,
    tell: Tell | None = None,
) -> DrillReport:
    """Try the promises on a database and an object store, and leave nothing behind.

    Args:
        settings: The user's own.
        database_url: Of the application's database, migrated.
        store: The user's own; stays open.
        scenarios: From `scenarios.choose`.
        is_kept: Whether the scratch project stays, to be looked at; `removal.clean` removes it.
        tell: Told what is being done, for whoever watches.

    Raises:
        StorageError: Something could not be removed; `removal.clean` takes it up.
        SceneError: The pipeline itself gave up.
        UsageError: The database or a setting cannot be used.
    """
    key = f"drill-{secrets.token_hex(6)}"
    began = time.monotonic()
    outage = OutageStore(store)
    say = tell or _say_nothing
    removed = None
    with (
        tempfile.TemporaryDirectory(prefix="scene-pipeline-drill-") as directory,
        FalStandIn(Path(directory)) as fal,
        claim_scratch(database_url, key),
    ):
        exercise = _Exercise(settings, database_url, outage, fal, key, scenarios, say)
        try:
            evidence = asyncio.run(exercise.run())
            verdicts = judge(scenarios, evidence)
            for verdict in verdicts:
                say(verdict)
        finally:
            # Also after Ctrl-C: uploads of threads that were left behind must not come later.
            if not outage.shut():
                raise StorageError(
                    "An upload of the drill did not end, so nothing was removed.",
                    next_action="Run `scene-pipeline drill --clean` in a few minutes.",
                )
            if not is_kept:
                say(DrillStep("Removing everything again"))
                removed = asyncio.run(_remove(database_url, store, key))
    return DrillReport(
        key=key,
        verdicts=verdicts,
        metered=evidence.metered,
        recorded=evidence.recorded,
        seconds=time.monotonic() - began,
        removed=removed,
    )


def _say_nothing(_event: object) -> None:
    """Nobody watches."""


async def _remove(database_url: str, store: ObjectStore, key: str) -> Removed | None:
    async with open_pool(database_url, max_size=1) as pool, pool.connection() as conn:
        async with conn.transaction():
            project = await find_scratch(conn, key)
        return await remove_project(conn, store, project) if project else None


@dataclass
class _Exercise:
    """The runs of one drill."""

    settings: Settings
    database_url: str
    outage: OutageStore
    fal: FalStandIn
    key: str
    scenarios: tuple[Scenario, ...]
    say: Tell

    async def run(self) -> Evidence:
        """Import, run with every fault, run again, and look at what is there then."""
        document = _document(self.key, self.scenarios)
        async with open_services(
            _drill_settings(self.settings, self.fal),
            self.database_url,
            store=self.outage,
            download_seconds=DOWNLOAD_SECONDS,
        ) as services:
            services.day_budget = self.key
            known = services.prices.prices
            services.prices = replace(services.prices, prices={**known, ("fal", MODEL): _price()})
            project = await self._create(services, document)
            for name in self._of("storage_outage"):
                self.outage.break_for(name)
            self.say(DrillStep("Running with every fault at once"))
            two_runs = [self._stream(services, self._of("two_runs"), f"run {n}") for n in (1, 2)]
            await asyncio.gather(
                self._stream(services, self._of("plain", "storage_outage"), "first run"),
                self._stream(services, self._of("no_money"), "no money", max_cost_usd=Decimal(0)),
                *two_runs,
            )
            self.outage.mend()
            before = len(self.fal.meter.accepted)
            self.say(DrillStep("Running again"))
            again = self._of("plain", "storage_outage", "two_runs")
            await self._stream(services, again, "second run")
            self.say(DrillStep("Reading what is left to be seen"))
            return await gather(
                services,
                self.outage,
                self.fal,
                project,
                self.scenarios,
                unit_price_usd=UNIT_PRICE_USD,
                imported=document,
                payments_in_second_run=len(self.fal.meter.accepted) - before,
                refused_uploads=self.outage.refused,
            )

    def _of(self, *scripts: Script) -> list[str]:
        return [scenario.name for scenario in self.scenarios if scenario.script in scripts]

    async def _create(self, services: Services, document: bytes) -> ScratchProject:
        # One transaction: nobody ever sees the project without its mark.
        async with services.pool.connection() as conn, conn.transaction():
            await import_document(
                conn,
                services.settings,
                document,
                file_name="drill.json",
                origin="drill",
                project_key=self.key,
                force=False,
            )
            return await mark_scratch(conn, self.key)

    async def _stream(
        self,
        services: Services,
        scene_ids: Iterable[str],
        name: str,
        *,
        max_cost_usd: Decimal | None = None,
    ) -> None:
        """Run to the end; what is said on the way is shown, and not believed."""
        scenes = tuple(SceneRef(self.key, scene_id) for scene_id in scene_ids)
        if not scenes:
            return
        order = FrameOrder(
            scenes=scenes,
            mode="ensure",
            token="",
            run_id=f"{self.key}:{name.replace(' ', '-')}",
            max_cost_usd=max_cost_usd,
        )
        async for event in stream_frames(order, services):
            self.say(ScenarioTold(event.scene.scene_id, name, event))


def _document(key: str, scenarios: tuple[Scenario, ...]) -> bytes:
    document = {
        "project": {"key": key, "title": "A drill; removed by itself"},
        "generation": {"provider": "fal", "model": MODEL, "image_size": "64x64"},
        "notes": {"nobody": "touches this"},
        "scenes": {
            scenario.name: {"scene_frame_prompt": scenario.prompt, "duration": 4}
            for scenario in scenarios
        },
    }
    return json.dumps(document, indent=2).encode()


def _price() -> Price:
    return Price(
        unit_price=UNIT_PRICE_USD,
        unit="megapixel",
        as_of=datetime.now(UTC).date(),
        layer="file",
        source="the drill",
    )


def _drill_settings(settings: Settings, fal: FalStandIn) -> Settings:
    """The user's settings with the stand-in in Fal's place and purses of the drill's own."""
    return settings.model_copy(
        update={
            "fal_key": fal.key,
            "egress_proxy": fal.proxy_url,
            "ssl_cert_file": fal.ca_file,
            "provider": "fal",
            "model": None,
            "steps": None,
            "output_format": "jpeg",
            "seed_policy": "random",
            "rejection_reseeds": 0,
            "rejection_fallback_model": None,
            "project_cap_usd": Decimal(1),
            "day_cap_usd": Decimal(1),
            "allow_unknown_price": False,
            "asset_host_allowlist": (),
            "trusted_private_hosts": (),
            "generation_timeout_seconds": 60.0,
            "submit_timeout_seconds": 10.0,
            "ambiguous_settle_seconds": _SETTLE_SECONDS,
        }
    )
