"""The drill's judgement: what is sound is held, and every broken promise is told as broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from scene_pipeline.database.scratch import SceneEvidence, VersionEvidence
from scene_pipeline.drill.evidence import Bill, Evidence, ReadBack
from scene_pipeline.drill.scenarios import FAULTS, NAMES, SOUND, Scenario, choose
from scene_pipeline.drill.standin.faults import STAGES
from scene_pipeline.drill.verdicts import judge
from scene_pipeline.errors import UsageError

ALL = (SOUND, *FAULTS)
DIGEST = "ab" * 32
Change = Callable[[Evidence], Evidence]


def version_of(scenario: Scenario, *, is_rejected: bool = False) -> VersionEvidence:
    return VersionEvidence(
        version=1,
        is_current=not is_rejected,
        is_rejected=is_rejected,
        storage_status="stored",
        storage_path=f"path/{scenario.name}",
        storage_url=f"https://frames.test/{scenario.name}",
        sha256=DIGEST,
        content_type="image/jpeg",
    )


def sound_scene(scenario: Scenario) -> SceneEvidence:
    """What a scene leaves when its promise holds."""
    scene = SceneEvidence(
        scene_id=scenario.name,
        generation_states=("failed",),
        error_code=None,
        error_next_action=None,
        request_count=1,
        cost_micros=3000,
        start_frame=None,
        versions=(),
    )
    match scenario.ending:
        case "framed":
            version = version_of(scenario)
            return replace(
                scene,
                generation_states=("published",),
                start_frame=version.storage_url,
                versions=(version,),
            )
        case "rejected":
            return replace(
                scene,
                generation_states=("superseded",),
                versions=(version_of(scenario, is_rejected=True),),
            )
        case "blocked":
            return replace(
                scene,
                generation_states=("planned",),
                error_code="budget_exhausted",
                request_count=0,
                cost_micros=0,
            )
        case "refused":
            return replace(scene, error_code="content_rejected")
        case "lost":
            return replace(scene, error_code="result_lost", error_next_action="Ask again.")


def sound_evidence() -> Evidence:
    scenes = {scenario.name: sound_scene(scenario) for scenario in ALL}
    bill = Bill(len(ALL) - 1, 3000 * (len(ALL) - 1))
    return Evidence(
        scenes=scenes,
        payments={name: scene.request_count for name, scene in scenes.items()},
        payments_in_second_run=0,
        metered=bill,
        recorded=bill,
        booked_micros={"project": bill.cost_micros, "day": bill.cost_micros},
        objects={
            version.storage_path or "": ReadBack(DIGEST, "image/jpeg")
            for scene in scenes.values()
            for version in scene.versions
        },
        is_document_kept=True,
        refused_uploads=4,
        keyed_downloads=0,
        foreign_hosts=(),
    )


def scene_changed(name: str, **changes: Any) -> Change:
    return lambda e: replace(e, scenes={**e.scenes, name: replace(e.scenes[name], **changes)})


def version_changed(name: str, **changes: Any) -> Change:
    def change(evidence: Evidence) -> Evidence:
        (version,) = evidence.scenes[name].versions
        return scene_changed(name, versions=(replace(version, **changes),))(evidence)

    return change


def changed(**changes: Any) -> Change:
    return lambda evidence: replace(evidence, **changes)


def paid(name: str, times: int) -> Change:
    return lambda e: replace(e, payments={**e.payments, name: times})


def two_versions(evidence: Evidence) -> Evidence:
    (version,) = evidence.scenes["two_runs"].versions
    older = replace(version, is_current=False)
    return scene_changed("two_runs", versions=(older, replace(version, version=2)))(evidence)


def test_sound_evidence_holds_every_promise() -> None:
    verdicts = judge(ALL, sound_evidence())

    assert [verdict.name for verdict in verdicts if not verdict.is_held] == []
    assert {verdict.name for verdict in verdicts} >= {"sound", *NAMES}


@pytest.mark.parametrize(
    ("broken", "change", "told"),
    [
        ("drop_after_submit", paid("drop_after_submit", 2), "paid 2 times"),
        ("rate_limited", paid("rate_limited", 0), "paid 0 times"),
        ("used_up_cap", paid("used_up_cap", 1), "paid 1 times"),
        ("used_up_cap", scene_changed("used_up_cap", error_code="x"), "ended as x"),
        ("content_policy", scene_changed("content_policy", start_frame="u"), "points to a picture"),
        ("content_policy", scene_changed("content_policy", error_code="x"), "ended as x"),
        ("black_frame", version_changed("black_frame", is_current=True), "was promoted"),
        ("black_frame", scene_changed("black_frame", versions=()), "0 versions"),
        ("black_frame", scene_changed("black_frame", start_frame="u"), "points to a picture"),
        ("expired_url", scene_changed("expired_url", error_code="fetch_failed"), "fetch_failed"),
        ("slow_drip", scene_changed("slow_drip", versions=()), "0 versions instead of 1"),
        ("slow_drip", version_changed("slow_drip", is_current=False), "0 current versions"),
        ("lying_type", version_changed("lying_type", content_type="image/png"), "image/jpeg"),
        ("storage_outage", changed(refused_uploads=0), "met no upload"),
        (
            "storage_outage",
            version_changed("storage_outage", storage_status="external"),
            "not in the object store",
        ),
        ("two_runs", two_versions, "2 versions instead of 1"),
        ("sound", scene_changed("sound", start_frame="https://elsewhere.test"), "does not point"),
        ("sound", version_changed("sound", sha256="cd" * 32), "bytes differ"),
        ("sound", version_changed("sound", storage_path="path/gone"), "cannot be read back"),
        ("sound", scene_changed("sound", generation_states=("stored",)), "says stored"),
        ("second_run", changed(payments_in_second_run=1), "1 more"),
        ("money", changed(recorded=Bill(9, 27000)), "recorded 9"),
        ("money", changed(booked_micros={"project": 30000, "day": 0}), "metered"),
        ("money", changed(booked_micros={"project": 30000}), "metered"),
        ("document", changed(is_document_kept=False), "other parts"),
        ("key", changed(keyed_downloads=1), "1 downloads carried it"),
        ("key", changed(foreign_hosts=("evil.example:443",)), "evil.example"),
    ],
)
def test_a_broken_promise_is_told_as_broken(broken: str, change: Change, told: str) -> None:
    verdicts = judge(ALL, change(sound_evidence()))

    assert [verdict.name for verdict in verdicts if not verdict.is_held] == [broken]
    (verdict,) = (verdict for verdict in verdicts if verdict.name == broken)
    assert told in verdict.happened


def test_names_are_chosen_one_by_one_or_with_commas() -> None:
    assert [s.name for s in choose(["black_frame", "slow_drip,rate_limited"])] == [
        "sound",
        "rate_limited",
        "black_frame",
        "slow_drip",
    ]
    assert choose([]) == ALL
    with pytest.raises(UsageError, match="nope"):
        choose(["black_frame,nope"])


def test_every_fault_is_one_that_the_stand_in_knows() -> None:
    for scenario in ALL:
        assert not scenario.marker or scenario.marker.split("*")[0] in STAGES
    assert len({scenario.prompt for scenario in ALL}) == len(ALL)
