"""What `doctor` says of the providers: whether their keys are set, and can be keys.

Belongs here: looking at the settings alone. Does not belong here: asking a service whether it takes
a key; that would be a request with it, and some charge for one.
"""

from collections.abc import Iterator

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.findings import Finding
from scene_pipeline.providers.registry import PROVIDERS, ProviderEntry, build_provider
from scene_pipeline.settings import Settings


def diagnose_providers(settings: Settings) -> Iterator[Finding]:
    """Look at the provider of the settings, and at the keys of those that a project may name.

    Args:
        settings: Whose provider exists (`check_settings`).
    """
    yield from (_chosen(entry, settings) for entry in PROVIDERS if _is_chosen(entry, settings))
    for entry in PROVIDERS:
        if entry.key_variable is not None and not _is_chosen(entry, settings):
            yield _other(entry, entry.key_variable, settings)


def hosts_in_words(settings: Settings) -> str:
    """Which hosts the provider of the settings needs a way to, as the end of a sentence."""
    [entry] = [entry for entry in PROVIDERS if _is_chosen(entry, settings)]
    if not entry.service_hosts:
        return f"{entry.name} needs none of them"
    words = f"{entry.name} is asked at {', '.join(entry.service_hosts)}"
    if not entry.result_hosts:
        return words
    return f"{words}, and its pictures are fetched from {', '.join(entry.result_hosts)}"


def _is_chosen(entry: ProviderEntry, settings: Settings) -> bool:
    return entry.name == settings.provider_name


def _chosen(entry: ProviderEntry, settings: Settings) -> Finding:
    variable = entry.key_variable
    problem = _problem(entry, settings)
    if problem is not None:
        cure = f"{problem.next_action.rstrip('.')}; or set SCENE_PIPELINE_PROVIDER=offline."
        if not entry.has_key(settings):
            cure = f"Set {variable}, or SCENE_PIPELINE_PROVIDER=offline."
        return Finding("provider", is_ok=False, detail=problem.message, cure=cure)
    if variable is None:
        detail = f"{entry.name}: frames are drawn here, for nothing."
    elif entry.has_key(settings):
        detail = f"{entry.name}, with a {variable}."
    else:
        detail = f"{entry.name}, without a {variable}: models that are free without one."
    return Finding("provider", is_ok=True, detail=detail)


def _other(entry: ProviderEntry, variable: str, settings: Settings) -> Finding:
    name = f"provider {entry.name}"
    if entry.has_key(settings):
        problem = _problem(entry, settings)
        if problem is not None:
            return Finding(name, is_ok=False, detail=problem.message, cure=problem.next_action)
        return Finding(name, is_ok=True, detail=f"{variable} is set.")
    if entry.is_free_without_key:
        detail = f"{variable} is not set: models that are free without one can be used."
        return Finding(name, is_ok=True, detail=detail)
    return Finding(
        name,
        is_ok=True,
        detail=f"{variable} is not set: scenes that name {entry.name} are blocked.",
        cure=f"Set {variable} to use {entry.name}.",
    )


def _problem(entry: ProviderEntry, settings: Settings) -> ConfigurationError | None:
    """Why a provider cannot be built of these settings."""
    try:
        build_provider(entry.name, settings).close()
    except ConfigurationError as error:
        return error
    return None
