"""From a project as it stands to what its page is made of.

Belongs here: what stands where, and which prompts are compared. Does not belong here: reading
(`pipeline.reporting.scene_pages`), HTML (`pipeline.reporting.page`).
"""

from collections.abc import Mapping, Sequence

from scene_pipeline.database.storyboard_pages import VERSIONS_SHOWN, ShownVersion
from scene_pipeline.pipeline.facts import dollars, usd
from scene_pipeline.pipeline.reporting.page import Page, PageScene, PageTable, PageVersion
from scene_pipeline.pipeline.reporting.scene_pages import ShownProject, ShownScene
from scene_pipeline.scenes.prompt_diff import Stretch, compare_prompts

MAX_COMPARISONS = 2000
"""Prompts of a page that are compared with those before them; beyond, they are shown whole."""


def page_of(shown: ShownProject, pictures: Mapping[str, bytes] | None = None) -> Page:
    """Lay a project's page out.

    Args:
        shown: The project.
        pictures: Of the current versions by scene id, where they are other than the thumbnails.
    """
    ready = len(shown.scenes) - shown.not_ready
    spent = usd(shown.costs.total_micros)
    comparer = _Comparer()
    return Page(
        title=shown.title,
        subtitle=f"{shown.project.key}: {ready} of {len(shown.scenes)} scenes ready for video,"
        f" {dollars(spent)} spent",
        counts=dict(shown.counts.most_common()),
        notes=[f"The document cannot be used: {shown.problem}"] if shown.problem else [],
        tables=[_costs_table(shown)],
        scenes=[_page_scene(scene, pictures, comparer) for scene in shown.scenes],
    )


def _costs_table(shown: ShownProject) -> PageTable:
    rows = [
        (
            cost.provider,
            cost.endpoint,
            cost.generations,
            usd(cost.cost_micros),
            cost.cost_kind,
            usd(cost.doubtful_micros),
        )
        for cost in shown.model_costs
    ]
    return PageTable(
        title="What it has cost",
        columns=("Provider", "Model", "Paid requests", "USD", "Known how", "In doubt, USD"),
        rows=rows,
    )


class _Comparer:
    """Compares a bounded number of prompts."""

    def __init__(self) -> None:
        self._left = MAX_COMPARISONS

    def changes(self, before: str, after: str) -> tuple[Stretch, ...] | None:
        """What changed, nothing where the two are equal; None where it was too much already."""
        if before == after:
            return ()
        if not self._left:
            return None
        self._left -= 1
        return compare_prompts(before, after)


def _page_scene(
    scene: ShownScene, pictures: Mapping[str, bytes] | None, comparer: _Comparer
) -> PageScene:
    state, current = scene.state, scene.current
    thumbnail = None if current is None else current.thumbnail
    if pictures is not None:
        thumbnail = pictures.get(state.scene_id)
    count = scene.versions[0].version_count if scene.versions else 0
    shown = _page_versions(scene.versions, comparer)
    return PageScene(
        scene_id=state.scene_id,
        state=state.state,
        is_ready=scene.is_ready,
        is_locked=state.locked,
        why=scene.reason,
        next_action=scene.next_action,
        prompt=state.scene_prompt or "",
        version=state.version,
        url=state.storage_url,
        cost_usd=usd(state.cost_micros),
        picture=thumbnail,
        versions=shown,
        hidden_versions=count - len(shown),
    )


def _page_versions(versions: Sequence[ShownVersion], comparer: _Comparer) -> list[PageVersion]:
    return [
        _page_version(version, _version_before(versions[place:]), comparer)
        for place, version in enumerate(versions[:VERSIONS_SHOWN], start=1)
    ]


def _version_before(older: Sequence[ShownVersion]) -> ShownVersion | None:
    """The newest of them that counted: one that was set aside stands before none."""
    return next((version for version in older if not version.rejection), None)


def _page_version(
    version: ShownVersion, before: ShownVersion | None, comparer: _Comparer
) -> PageVersion:
    is_gone = version.storage_status == "removed"
    changes = None if before is None else comparer.changes(before.prompt, version.prompt)
    return PageVersion(
        version=version.version,
        is_current=version.is_current,
        url=None if is_gone else version.storage_url,
        model=f"{version.provider} {version.endpoint}",
        seed=version.seed,
        cost_usd=None if version.cost_micros is None else usd(version.cost_micros),
        cost_kind=version.cost_kind,
        size=f"{version.width}x{version.height}",
        size_bytes=version.file_size,
        made_at=f"{version.generated_at:%Y-%m-%d %H:%M:%S} UTC",
        remark=_remark(version),
        prompt=version.prompt,
        changes=changes or (),
        shows_prompt=changes is None,
        picture=None if version.is_current else version.thumbnail,
    )


def _remark(version: ShownVersion) -> str:
    match version.storage_status:
        case "removed":
            return "its picture was given up by retention"
        case "external":
            return "its picture is at the provider only"
        case _:
            return f"set aside: {version.rejection}" if version.rejection else ""
