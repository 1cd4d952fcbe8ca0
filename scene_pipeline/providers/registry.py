"""The providers by name. Adding one is a file for the adapter and a line in each table here.

Belongs here: names, default models, construction from settings. Does not belong here: protocols.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.base import ImageProvider
from scene_pipeline.settings import DEFAULT_FAL_MODEL, Settings


def _build_offline(_settings: Settings) -> ImageProvider:
    from scene_pipeline.providers.offline import OfflineProvider  # noqa: PLC0415  # where used

    return OfflineProvider()


def _build_fal(settings: Settings) -> ImageProvider:
    if not settings.fal_key:
        message = "The provider fal needs a key, and FAL_KEY is not set."
        raise ConfigurationError(
            message,
            code="fal_key_missing",
            next_action="Set FAL_KEY to your Fal key, or use `--provider offline`.",
        )
    from scene_pipeline.providers.fal import FalProvider  # noqa: PLC0415  # where used

    return FalProvider(
        settings.fal_key,
        tls_context(settings.ssl_cert_file),
        settings.egress_proxy,
        submit_timeout_seconds=settings.submit_timeout_seconds,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


_BUILDERS: Mapping[str, Callable[[Settings], ImageProvider]] = MappingProxyType(
    {"offline": _build_offline, "fal": _build_fal}
)

PROVIDER_NAMES: tuple[str, ...] = tuple(_BUILDERS)

DEFAULT_MODELS: Mapping[str, str] = MappingProxyType(
    {"offline": "offline/landscape", "fal": DEFAULT_FAL_MODEL}
)
"""The model that is used where neither settings, document nor command names one."""


def build_provider(name: str, settings: Settings) -> ImageProvider:
    """Build a provider, without any connection yet.

    Raises:
        ConfigurationError: There is no such provider, or it lacks its key.
    """
    builder = _BUILDERS.get(name)
    if builder is None:
        message = f"There is no provider {name!r}."
        raise ConfigurationError(
            message,
            code="provider_unknown",
            next_action=f"Use one of: {', '.join(PROVIDER_NAMES)}.",
        )
    return builder(settings)


def most_images(name: str, endpoint: str) -> int:
    """How many pictures a model makes of one request; nothing is built, and no key is needed."""
    if name == "offline":
        from scene_pipeline.providers.offline import MAX_IMAGES  # noqa: PLC0415  # where used

        return MAX_IMAGES
    from scene_pipeline.providers.fal_arguments import model_family  # noqa: PLC0415  # where used

    return model_family(endpoint).max_images
