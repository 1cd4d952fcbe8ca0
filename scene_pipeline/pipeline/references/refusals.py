"""Why the scenes of a document would not get past their reference pictures, told before a run.

Belongs here: the question that `plan` and a dry run ask, which needs no key of the provider. Does
not belong here: refusing, which is done with the provider at hand when a scene is settled
(`checking`, `pipeline.making`).
"""

from collections.abc import Iterable

from scene_pipeline.errors import BlockedError, ConfigurationError
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.references.checking import check_pictures, required, too_many
from scene_pipeline.providers.base import ReferenceLimits
from scene_pipeline.providers.registry import reference_limits
from scene_pipeline.scenes.document import ProjectDocument, Scene
from scene_pipeline.scenes.requests import ResolvedRequest


class PictureRefusals:
    """Judges requests of one document.

    Args:
        document: With what is known of its pictures.
    """

    def __init__(self, document: ProjectDocument) -> None:
        self._document = document
        self._followers = _followers(document.scenes)

    def of(self, scene_id: str, request: ResolvedRequest) -> Failure | None:
        """Why a scene's pictures cannot be sent with its request; None where they can.

        Of pictures that a command names in the document's place only the number is judged: they are
        looked at when it is their turn. So is what a foreign server was not asked about yet.
        """
        try:
            limits = reference_limits(request.provider, request.endpoint)
        except ConfigurationError:
            return None  # a provider that does not exist is told of elsewhere
        try:
            self._check(scene_id, request, limits)
        except BlockedError as error:
            return failure_of(error)
        return None

    def _check(self, scene_id: str, request: ResolvedRequest, limits: ReferenceLimits) -> None:
        named = request.references
        if not named:
            if limits.is_required and scene_id not in self._followers:
                raise required(request.endpoint)
        elif named == request.document_references:
            check_pictures(named, self._document.pictures, limits, request.endpoint)
        elif len(named) > limits.max_count:
            raise too_many(len(named), limits, request.endpoint)


def _followers(scenes: Iterable[Scene]) -> frozenset[str]:
    """Scenes that are given the frame of the one before them in their continuity group."""
    groups: set[str] = set()
    followers = []
    for scene in scenes:
        if scene.continuity_group is None:
            continue
        if scene.continuity_group in groups:
            followers.append(scene.scene_id)
        groups.add(scene.continuity_group)
    return frozenset(followers)
