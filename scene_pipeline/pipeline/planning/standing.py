"""Where a scene stands, as the decision about it needs to know.

Belongs here: from rows to plain facts. Does not belong here: deciding (`scenes.planning`).
"""

from collections.abc import Mapping, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from scene_pipeline.database.rows import SceneState
from scene_pipeline.scenes.document import Scene
from scene_pipeline.scenes.planning import LastFailure, Standing
from scene_pipeline.scenes.references import KnownPicture, described, replaced_pictures
from scene_pipeline.scenes.requests import RequestOverrides, read_overrides

DIGESTS: Final = "reference_digests"
"""The part of a scene's content that says which bytes its references are."""
NO_PICTURES: Final[Mapping[str, KnownPicture]] = MappingProxyType({})


def overridden(
    overrides: RequestOverrides, requested: Mapping[str, Any] | None
) -> RequestOverrides:
    """The order's overrides with those of a regeneration request on top.

    Raises:
        UsageError: code "overrides_invalid"; other programs write requests, too.
    """
    if not requested:
        return overrides
    given = read_overrides(requested)
    values = {name: getattr(given, name) for name in requested}
    return replace(overrides, **{name: v for name, v in values.items() if v is not None})


def wishes_of(order: RequestOverrides, state: SceneState) -> RequestOverrides:
    """What an order in mode *ensure* sets over everything.

    Where it says nothing, and nobody asked for anything since, that is what the order of the open
    generation did.
    """
    is_silent = order == RequestOverrides() and state.request_id is None
    return read_overrides(state.open_overrides or {}) if is_silent else order


def causes_of(state: SceneState, pictures: Mapping[str, KnownPicture]) -> list[str]:
    """The parts of a scene's content that changed; a replaced picture is a part of its own.

    Args:
        state: As the view has it.
        pictures: What is known of the document's references, for their names.
    """
    parts = [part for part in state.stale_causes or () if part != DIGESTS]
    if DIGESTS not in (state.stale_causes or ()):
        return parts
    replaced = [
        f"reference {described(name, pictures[name].label if name in pictures else None)}"
        " was replaced"
        for name in replaced_pictures(state.current_content or {}, state.content)
    ]
    return [*parts, *replaced] or ["references"]


def standing_of(
    state: SceneState,
    scene: Scene | None,
    *,
    is_archived: bool,
    known_urls: Set[str],
    pictures: Mapping[str, KnownPicture] = NO_PICTURES,
) -> Standing:
    """The facts of one scene that the decision needs, but for what could be reused.

    Args:
        state: As the view has it.
        scene: Its entry in the document; None where it cannot be used.
        is_archived: Of its project.
        known_urls: Addresses that are, or were, those of the project's versions.
        pictures: What is known of the document's references, for their names.
    """
    failure = None
    if state.last_state == "failed":
        failure = LastFailure(
            is_same_content=state.last_content_hash == state.content_hash,
            is_retryable=bool(state.last_error_retryable),
            # What a content check refused is refused again, whether or not it was charged.
            is_uncharged=state.last_error_charge == "not_charged"
            and state.last_flagged_input is None,
        )
    return Standing(
        is_valid=scene is not None and state.problem_code is None,
        is_locked=state.locked,
        has_frame=state.image_id is not None,
        is_stale=state.image_id is not None and state.current_content_hash != state.content_hash,
        stale_causes=causes_of(state, pictures),
        has_open_generation=state.open_generation_id is not None,
        has_request=state.request_id is not None,
        is_in_document=scene is not None and scene.start_frame == state.storage_url,
        last_failure=failure,
        is_external=state.storage_status == "external",
        chosen_version=state.version if state.is_chosen else None,
        is_archived=is_archived,
        is_unsent=state.open_state == "planned",
        is_foreign=bool(scene and scene.start_frame and scene.start_frame not in known_urls),
    )
