"""What is left to be seen after a drill's runs: at the meter, in the rows, in the store.

Belongs here: reading, from the places themselves. Does not belong here: judging (`drill.verdicts`).
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from scene_pipeline.database.scratch import (
    SceneEvidence,
    ScratchProject,
    booked_micros,
    scene_evidence,
)
from scene_pipeline.drill.scenarios import Scenario
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ImageError, StorageError
from scene_pipeline.media.formats import CONTENT_TYPES, sniff
from scene_pipeline.pipeline.projects.importing import export_project
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.prices import metered_cost_micros
from scene_pipeline.storage.base import ObjectStore


@dataclass(frozen=True, slots=True)
class Bill:
    """Paid requests and what they cost."""

    requests: int
    cost_micros: int


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A stored object as it was read back."""

    sha256: str
    content_type: str | None
    """By its bytes."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the verdicts stand on."""

    scenes: Mapping[str, SceneEvidence]
    payments: Mapping[str, int]
    """At the meter, by scene."""
    payments_in_second_run: int
    metered: Bill
    recorded: Bill
    booked_micros: Mapping[str, int]
    objects: Mapping[str, ReadBack]
    """By storage key; without those that could not be read."""
    is_document_kept: bool
    refused_uploads: int
    keyed_downloads: int
    """Downloads that brought the key where it does not belong."""
    foreign_hosts: tuple[str, ...]


async def gather(
    services: Services,
    store: ObjectStore,
    fal: FalStandIn,
    project: ScratchProject,
    scenarios: tuple[Scenario, ...],
    *,
    unit_price_usd: Decimal,
    imported: bytes,
    payments_in_second_run: int,
    refused_uploads: int,
) -> Evidence:
    """Read everything there is to be seen; changes nothing."""
    async with services.pool.connection() as conn:
        scenes = await scene_evidence(conn, project)
        booked = await booked_micros(conn, project)
        exported = await export_project(conn, project.key)
    paths = [v.storage_path for s in scenes.values() for v in s.versions if v.storage_path]
    objects = {path: found for path in paths if (found := await _read(services, store, path))}
    return Evidence(
        scenes=scenes,
        payments={scenario.name: payments_for(fal, scenario) for scenario in scenarios},
        payments_in_second_run=payments_in_second_run,
        metered=_metered(fal, unit_price_usd),
        recorded=Bill(
            sum(scene.request_count for scene in scenes.values()),
            sum(scene.cost_micros for scene in scenes.values()),
        ),
        booked_micros=booked,
        objects=objects,
        is_document_kept=_without_frames(exported) == _without_frames(imported),
        refused_uploads=refused_uploads,
        keyed_downloads=fal.media.keyed_requests,
        foreign_hosts=tuple(sorted(set(fal.proxy.refused_hosts))),
    )


def payments_for(fal: FalStandIn, scenario: Scenario) -> int:
    """How often the meter was paid for a scene."""
    return sum(scenario.prompt in submit.prompt for submit in fal.meter.accepted)


async def _read(services: Services, store: ObjectStore, path: str) -> ReadBack | None:
    try:
        data = await services.call(store.read, path)
    except StorageError:
        return None
    try:
        content_type = CONTENT_TYPES[sniff(data)]
    except ImageError:
        content_type = None
    return ReadBack(sha256(data).hexdigest(), content_type)


def _metered(fal: FalStandIn, unit_price_usd: Decimal) -> Bill:
    accepted = fal.meter.accepted
    units = [job.billable_units for job in fal.jobs.all()]
    return Bill(len(accepted), sum(metered_cost_micros(n, unit_price_usd) for n in units))


def _without_frames(document: bytes) -> dict[str, Any]:
    stripped: dict[str, Any] = copy.deepcopy(json.loads(document))
    for scene in stripped["scenes"].values():
        scene.pop("scene_start_frame", None)
    return stripped
