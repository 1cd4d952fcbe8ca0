"""The providers by name: one line each, and everything else follows from it.

A provider is one module and one line of `PROVIDERS` (docs/adding-a-provider.md). The module has
three functions, which are called by these names:

    build(settings: Settings) -> ImageProvider     without any connection; raises ConfigurationError
    max_images(endpoint: str) -> int               pictures that a model makes of one request
    reference_limits(endpoint: str) -> ReferenceLimits      pictures that a model can be given

Belongs here: names, default models, keys and hosts by name. Does not belong here: protocols, and
what one provider needs to be built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.base import ImageProvider, ReferenceLimits
from scene_pipeline.settings import DEFAULT_FAL_MODEL, Settings


class ProviderModule(Protocol):
    """What a provider's module has; loaded when the provider is first needed."""

    def build(self, settings: Settings) -> ImageProvider:
        """Build the provider, without any connection yet."""
        ...

    def max_images(self, endpoint: str) -> int:
        """How many pictures a model makes of one request."""
        ...

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        """Which pictures a model can be given to go by."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider."""

    name: str
    """Users choose it by this; a lower-case word."""
    module: str
    """Absolute name of its module (`ProviderModule`)."""
    default_model: str
    """The model that is used where neither settings, document nor command names one."""
    result_hosts: tuple[str, ...] = ()
    """Where its results are fetched from: host names, `*.` standing for everything below one."""
    service_hosts: tuple[str, ...] = ()
    """Hosts that it asks; none where it works on this machine."""
    key_variable: str | None = None
    """The environment variable of its key, which in lower case is the field of the settings; None
    where it takes none."""
    is_free_without_key: bool = False
    """Whether it makes pictures for nothing where no key is set."""

    def has_key(self, settings: Settings) -> bool:
        """Whether its key is set, whatever it is worth."""
        return self.key_variable is not None and bool(getattr(settings, self.key_variable.lower()))


PROVIDERS = (
    ProviderEntry(
        "offline",
        "scene_pipeline.providers.offline",
        "offline/landscape",
        is_free_without_key=True,
    ),
    ProviderEntry(
        "fal",
        "scene_pipeline.providers.fal",
        DEFAULT_FAL_MODEL,
        ("fal.media", "*.fal.media"),
        ("queue.fal.run", "api.fal.ai", "rest.fal.ai"),
        key_variable="FAL_KEY",
    ),
    ProviderEntry(
        "replicate",
        "scene_pipeline.providers.replicate",
        "black-forest-labs/flux-schnell",
        ("replicate.delivery", "*.replicate.delivery"),
        ("api.replicate.com",),
        key_variable="REPLICATE_API_TOKEN",
    ),
    ProviderEntry(
        "pollinations",
        "scene_pipeline.providers.pollinations",
        "flux",
        service_hosts=("gen.pollinations.ai", "image.pollinations.ai"),
        key_variable="POLLINATIONS_API_KEY",
        is_free_without_key=True,
    ),
)


class Registry:
    """Providers to choose from.

    Args:
        entries: In the order in which they are named to users.
    """

    def __init__(self, entries: Sequence[ProviderEntry]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._entries)

    @property
    def default_models(self) -> Mapping[str, str]:
        """The model of each that is used where none is named."""
        models = {name: entry.default_model for name, entry in self._entries.items()}
        return MappingProxyType(models)

    @property
    def result_hosts(self) -> tuple[str, ...]:
        """Hosts that any of them hands results out from."""
        return tuple(host for entry in self._entries.values() for host in entry.result_hosts)

    def free(self, settings: Settings) -> frozenset[str]:
        """Names of those that cost nothing with the keys that are set."""
        return frozenset(
            name
            for name, entry in self._entries.items()
            if entry.is_free_without_key and not entry.has_key(settings)
        )

    def keyed(self, settings: Settings) -> frozenset[str]:
        """Names of those whose key is set."""
        return frozenset(name for name, entry in self._entries.items() if entry.has_key(settings))

    def build(self, name: str, settings: Settings) -> ImageProvider:
        """Build a provider, without any connection yet.

        Raises:
            ConfigurationError: There is no such provider, or it lacks its key.
        """
        return self._module(name).build(settings)

    def most_images(self, name: str, endpoint: str) -> int:
        """How many pictures a model makes of one request; nothing is built, no key is needed.

        Raises:
            ConfigurationError: There is no such provider.
        """
        return self._module(name).max_images(endpoint)

    def reference_limits(self, name: str, endpoint: str) -> ReferenceLimits:
        """Which pictures a model can be given to go by; nothing is built, no key is needed.

        Raises:
            ConfigurationError: There is no such provider.
        """
        return self._module(name).reference_limits(endpoint)

    def _module(self, name: str) -> ProviderModule:
        entry = self._entries.get(name)
        if entry is None:
            message = f"There is no provider {name!r}."
            raise ConfigurationError(
                message,
                code="provider_unknown",
                next_action=f"Use one of: {', '.join(self.names)}.",
            )
        return cast("ProviderModule", import_module(entry.module))


_REGISTRY = Registry(PROVIDERS)

PROVIDER_NAMES = _REGISTRY.names
DEFAULT_MODELS = _REGISTRY.default_models
build_provider = _REGISTRY.build
most_images = _REGISTRY.most_images
reference_limits = _REGISTRY.reference_limits
free_providers = _REGISTRY.free
keyed_providers = _REGISTRY.keyed


def result_hosts(settings: Settings) -> tuple[str, ...]:
    """Hosts that results may be fetched from: the providers' own, and what the user added."""
    return (*_REGISTRY.result_hosts, *settings.asset_host_allowlist)
