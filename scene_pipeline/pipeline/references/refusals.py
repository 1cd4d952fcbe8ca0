"""Why the scenes of a document would not get past their reference pictures, told before a run.

Belongs here: the question that `plan` and a dry run ask. Does not belong here: refusing, which is
done with the provider at hand when a scene is settled (`checking`, `pipeline.making`).
"""

from scene_pipeline.errors import BlockedError, ConfigurationError
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.references.checking import check_pictures
from scene_pipeline.providers.base import ReferenceLimits
from scene_pipeline.providers.registry import build_provider
from scene_pipeline.scenes.document import ProjectDocument
from scene_pipeline.scenes.requests import ResolvedRequest
from scene_pipeline.settings import Settings


class PictureRefusals:
    """Judges requests of one document; each model is asked about once.

    Args:
        settings: For the keys of providers.
        document: With what is known of its pictures.
    """

    def __init__(self, settings: Settings, document: ProjectDocument) -> None:
        self._settings = settings
        self._document = document
        self._limits: dict[tuple[str, str], ReferenceLimits | None] = {}

    def of(self, request: ResolvedRequest) -> Failure | None:
        """Why the document's pictures cannot be sent with a request; None where they can.

        Pictures that a command names in their place are looked at when it is their turn, and what a
        foreign server was not asked about yet stands in nobody's way here.
        """
        named = request.document_references
        if not named or request.references != named:
            return None
        limits = self._limits_of(request.provider, request.endpoint)
        if limits is None:
            return None
        try:
            check_pictures(named, self._document.pictures, limits, request.endpoint)
        except BlockedError as error:
            return failure_of(error)
        return None

    def _limits_of(self, provider: str, endpoint: str) -> ReferenceLimits | None:
        """What a model takes; None where its provider's key is missing, which is told elsewhere."""
        if (provider, endpoint) not in self._limits:
            self._limits[provider, endpoint] = _ask(self._settings, provider, endpoint)
        return self._limits[provider, endpoint]


def _ask(settings: Settings, provider: str, endpoint: str) -> ReferenceLimits | None:
    try:
        built = build_provider(provider, settings)
    except ConfigurationError:
        return None
    try:
        return built.reference_limits(endpoint)
    finally:
        built.close()
