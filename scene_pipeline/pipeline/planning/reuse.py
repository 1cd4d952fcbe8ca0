"""Which scenes of a project can have their frame without paying, found out for all of them at once.

Belongs here: asking for the facts only where they can matter. Does not belong here: deciding
(`scenes.planning`), carrying it out (`pipeline.planning.reusing`).

Reuse is for mode *ensure* alone: whoever asks for a new version gets a new one.
"""

from collections.abc import Mapping, Sequence

from scene_pipeline.database.reuse import ReusableVersion, identical_versions, reusable_versions
from scene_pipeline.database.rows import Connection, ProjectRow, SceneState
from scene_pipeline.scenes.planning import Reusable
from scene_pipeline.scenes.requests import ResolvedRequest
from scene_pipeline.settings import Settings


async def find_reusable(
    conn: Connection, project: ProjectRow, states: Sequence[SceneState]
) -> dict[str, ReusableVersion]:
    """What scenes without a frame of today's content can have from their own project, by scene id.

    Args:
        conn: In the transaction that the states were read in.
        project: Whose scenes.
        states: Where they stand; nothing is asked where every scene has its frame.
    """
    if not any(state.image_id is None or state.state == "stale" for state in states):
        return {}
    return await reusable_versions(conn, project.id, project.key)


async def find_identical(
    conn: Connection,
    settings: Settings,
    project: ProjectRow,
    requests: Mapping[str, tuple[SceneState, ResolvedRequest]],
) -> dict[str, ReusableVersion]:
    """Frames that exactly the same requests made in other projects, by scene id.

    Only where the setting allows it, and only for a seed that was given: any other is the scene's
    own. A scene of a continuity group is left out, since its request takes its reference with it.

    Args:
        conn: Of the caller.
        settings: For SCENE_PIPELINE_REUSE_ACROSS_PROJECTS.
        project: Whose scenes.
        requests: What would be paid for, by scene id.
    """
    if not settings.reuse_across_projects:
        return {}
    hashes = {
        scene_id: request.hash_with(request.seed)
        for scene_id, (state, request) in requests.items()
        if request.seed is not None and state.continuity_group is None
    }
    if not hashes:
        return {}
    found = await identical_versions(conn, project.id, sorted(set(hashes.values())))
    return {scene_id: found[digest] for scene_id, digest in hashes.items() if digest in found}


def reusable_of(found: ReusableVersion | None) -> Reusable | None:
    """A version that can stand in, as the decision sees it."""
    if found is None:
        return None
    words = {
        "own": f"version {found.version}",
        "renamed": f"version {found.version} of scene {found.scene_id}",
        "identical": f"version {found.version} of {found.project_key}/{found.scene_id}",
    }
    return Reusable(found.kind, words[found.kind])
