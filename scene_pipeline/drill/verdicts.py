"""What held and what did not: judged by the meter, the rows, the document and the stored bytes.

Belongs here: comparing what was found with what was promised. Nothing here believes what the
pipeline said of itself. Does not belong here: gathering (`drill.evidence`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from scene_pipeline.database.scratch import SceneEvidence, VersionEvidence
from scene_pipeline.drill.evidence import Evidence
from scene_pipeline.drill.scenarios import Scenario
from scene_pipeline.pipeline.facts import usd

_GENERAL = "all of them"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise under one fault."""

    name: str
    promise: str
    fault: str
    happened: str
    """What was found, in a few words."""
    is_held: bool


def judge(scenarios: tuple[Scenario, ...], evidence: Evidence) -> tuple[Verdict, ...]:
    """Judge every scenario, and what must hold over all of them."""
    return (
        *(_judge_scene(scenario, evidence) for scenario in scenarios),
        *_judge_whole(evidence),
    )


def _judge_scene(scenario: Scenario, evidence: Evidence) -> Verdict:
    scene = evidence.scenes[scenario.name]
    payments = evidence.payments[scenario.name]
    allowed = 0 if scenario.ending == "blocked" else 1
    wrong = [] if payments == allowed else [f"paid {payments} times instead of {allowed}"]
    if scenario.script == "storage_outage" and not evidence.refused_uploads:
        wrong.append("the outage met no upload")
    wrong += list(_ENDINGS[scenario.ending](scene, evidence))
    happened = _in_words(scene, payments) if not wrong else "; ".join(wrong)
    return Verdict(scenario.name, scenario.promise, scenario.fault, happened, is_held=not wrong)


def _in_words(scene: SceneEvidence, payments: int) -> str:
    paid = {0: "not paid", 1: "paid once"}.get(payments, f"paid {payments} times")
    current = next((v for v in scene.versions if v.is_current), None)
    if current is not None:
        return f"{paid}, version {current.version} stored and in the document"
    if scene.versions:
        return f"{paid}, kept as version {scene.versions[-1].version}, not in the document"
    return f"{paid}, {scene.error_code or 'no frame'}"


def _framed(scene: SceneEvidence, evidence: Evidence) -> Iterator[str]:
    if [version.version for version in scene.versions] != [1]:
        yield f"{len(scene.versions)} versions instead of 1"
        if scene.error_code:
            yield scene.error_code
    current = [version for version in scene.versions if version.is_current]
    if len(current) != 1:
        yield f"{len(current)} current versions instead of 1"
        return
    yield from _unsound(current[0], evidence)
    if scene.start_frame != current[0].storage_url:
        yield "the document does not point to the current version"
    if scene.generation_states != ("published",):
        yield f"the ledger says {', '.join(scene.generation_states)}"


def _unsound(version: VersionEvidence, evidence: Evidence) -> Iterator[str]:
    if version.storage_status != "stored" or version.storage_path is None:
        yield "the picture is not in the object store"
        return
    found = evidence.objects.get(version.storage_path)
    if found is None:
        yield "the stored object cannot be read back"
    elif found.sha256 != version.sha256:
        yield "the stored bytes differ from what was recorded"
    elif found.content_type != version.content_type:
        yield f"recorded as {version.content_type}, but its bytes are {found.content_type}"


def _refused(scene: SceneEvidence, _evidence: Evidence) -> Iterator[str]:
    if scene.generation_states != ("failed",) or scene.error_code != "content_rejected":
        yield f"ended as {scene.error_code or ', '.join(scene.generation_states)}"
    yield from _without_frame(scene)
    if scene.versions:
        yield "a version was made of a refusal"


def _rejected(scene: SceneEvidence, evidence: Evidence) -> Iterator[str]:
    if len(scene.versions) != 1:
        yield f"{len(scene.versions)} versions instead of 1 for the record"
    for version in scene.versions:
        if version.is_current or not version.is_rejected:
            yield "the black picture was promoted"
        yield from _unsound(version, evidence)
    yield from _without_frame(scene)


def _lost(scene: SceneEvidence, _evidence: Evidence) -> Iterator[str]:
    if scene.error_code != "result_lost" or not scene.error_next_action:
        yield f"ended as {scene.error_code or ', '.join(scene.generation_states)}"
    yield from _without_frame(scene)
    if scene.versions:
        yield "a version was made of nothing"


def _blocked(scene: SceneEvidence, _evidence: Evidence) -> Iterator[str]:
    if scene.error_code != "budget_exhausted":
        yield f"ended as {scene.error_code or ', '.join(scene.generation_states)}"
    yield from _without_frame(scene)


def _without_frame(scene: SceneEvidence) -> Iterator[str]:
    if scene.start_frame is not None:
        yield "the document points to a picture all the same"


_ENDINGS = {
    "framed": _framed,
    "refused": _refused,
    "rejected": _rejected,
    "lost": _lost,
    "blocked": _blocked,
}


def _judge_whole(evidence: Evidence) -> Iterator[Verdict]:
    again = evidence.payments_in_second_run
    yield Verdict(
        "second_run",
        "Running again buys nothing that was bought before.",
        _GENERAL,
        f"{again} more payments in the second run",
        is_held=again == 0,
    )
    metered, recorded, booked = evidence.metered, evidence.recorded, evidence.booked_micros
    sums = {recorded.cost_micros, *booked.values()}
    yield Verdict(
        "money",
        "What was paid is recorded exactly, and booked on the drill's own budgets.",
        _GENERAL,
        f"metered {metered.requests} requests, {usd(metered.cost_micros):.4f} USD; recorded"
        f" {recorded.requests}, {usd(recorded.cost_micros):.4f} USD; booked"
        f" {', '.join(f'{usd(booked[scope]):.4f} USD ({scope})' for scope in sorted(booked))}",
        is_held=metered == recorded
        and sums == {metered.cost_micros}
        and set(booked) == {"project", "day"},
    )
    yield Verdict(
        "document",
        "Nothing in the document changes but the start frames.",
        _GENERAL,
        "everything else is as it was"
        if evidence.is_document_kept
        else "other parts of the document changed",
        is_held=evidence.is_document_kept,
    )
    strayed = evidence.keyed_downloads + len(evidence.foreign_hosts)
    yield Verdict(
        "key",
        "The key goes to the provider's own hosts and nowhere else.",
        _GENERAL,
        f"{evidence.keyed_downloads} downloads carried it; other hosts asked for:"
        f" {', '.join(evidence.foreign_hosts) or 'none'}",
        is_held=strayed == 0,
    )
