"""What is asked of which provider for a scene: settings, project, scene and command in one request.

Belongs here: precedence. Does not belong here: prices, seeds that the program chooses, and whether
the request is worth making (planning).

Precedence rises from settings over project and scene to the command. A model belongs to a provider:
one that the document names without a provider is meant for Fal. Where another provider ends up
being used (offline, because there is no key), that provider's own default takes its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.document import GenerationOptions, ProjectDocument, Scene
from scene_pipeline.scenes.fields import OutputFormat
from scene_pipeline.scenes.hashes import content_hash
from scene_pipeline.scenes.prompts import EXPANSION_VERSION, expand_prompt
from scene_pipeline.scenes.sizes import ImageSize, parse_size

T = TypeVar("T")

SeedPolicy = Literal["random", "fixed", "reuse", "increment"]
"""Where a seed comes from that nobody gave. random: derived from the request's key, another one for
every new version. fixed: derived from project and scene, the same for ever. reuse: the current
version's. increment: the current version's, plus one."""
MAX_CANDIDATES = 8

PROVIDER_OF_BARE_MODELS = "fal"
"""Whom a document means that names a model and no provider."""


@dataclass(frozen=True, slots=True)
class RequestDefaults:
    """What holds where neither document nor command says anything: the settings' level."""

    provider: str
    models: Mapping[str, str]
    """The default model of every provider there is, by the provider's name."""
    image_size: str
    steps: int | None = None
    output_format: OutputFormat = "jpeg"


@dataclass(frozen=True, slots=True)
class RequestOverrides:
    """What a command or a regeneration request sets over everything; None leaves a value alone."""

    provider: str | None = None
    model: str | None = None
    image_size: str | None = None
    seed: int | None = None
    seed_policy: SeedPolicy | None = None
    steps: int | None = None
    candidates: int | None = None
    """Pictures to ask for at once, 1 to `MAX_CANDIDATES`; each becomes a version."""
    references: tuple[str, ...] | None = None
    """Reference pictures in the place of the document's."""
    prompt: str | None = None
    """Takes the place of the scene's own words; style and characters stay around it. Like a suffix,
    it changes what is sent and not the content hash."""
    prompt_suffix: str | None = None
    """Added to the prompt that is sent. It changes the request and is recorded with it, but not the
    content hash: that speaks of the document alone, or the new version would be stale at once."""


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """One picture to ask for, complete but for the seed where none was given."""

    provider: str
    endpoint: str
    """The provider's name of the model."""
    scene_prompt: str
    """The document's words exactly: publishing compares them."""
    expanded_prompt: str
    """Scene, characters and style: the document's content, without a command's suffix."""
    prompt: str
    """What is sent."""
    negative_prompt: str | None
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    seed: int | None
    """Given by document or command; None where the program chooses."""
    steps: int | None
    guidance: float | None
    output_format: OutputFormat
    arguments: Mapping[str, Any]
    references: tuple[str, ...]
    character_names: tuple[str, ...]
    """Who is in the picture, as far as the document describes them."""
    content_hash: str
    """Of the document's content; a frame with another one is stale."""
    explicit_parameters: Mapping[str, Any]
    """What document or command asked for by name, for the idempotency key. Settings are left out:
    two processes with different settings must not both pay for the same first frame."""

    @property
    def size(self) -> ImageSize:
        """Width and height together."""
        return ImageSize(self.width, self.height)


def resolve_request(
    document: ProjectDocument,
    scene: Scene,
    defaults: RequestDefaults,
    overrides: RequestOverrides,
) -> ResolvedRequest:
    """Settle everything that is sent for one scene.

    Raises:
        UsageError: A provider that does not exist (code unknown_provider), or a size that is none
            (code image_size_invalid).
    """
    levels = (_command_level(overrides), scene.generation, document.generation)
    provider = _first(level.provider for level in levels) or defaults.provider
    if provider not in defaults.models:
        raise UsageError(
            f'There is no image provider "{provider}".',
            code="unknown_provider",
            next_action=f"Use one of {', '.join(sorted(defaults.models))}.",
        )
    expanded = expand_prompt(document, scene)
    given = _merged(levels)
    size = given.image_size or parse_size(defaults.image_size)
    suffix = (overrides.prompt_suffix or "").strip()
    return ResolvedRequest(
        provider=provider,
        endpoint=_named_model(provider, levels) or defaults.models[provider],
        scene_prompt=scene.prompt,
        expanded_prompt=expanded.text,
        prompt=f"{expanded.text}\n\n{suffix}" if suffix else expanded.text,
        negative_prompt=expanded.negative,
        width=size.width,
        height=size.height,
        seed=given.seed,
        steps=defaults.steps if given.steps is None else given.steps,
        guidance=given.guidance,
        output_format=given.output_format or defaults.output_format,
        arguments=given.arguments,
        references=expanded.references,
        character_names=tuple(character.name for character in expanded.characters),
        content_hash=content_hash(
            expanded_prompt=expanded.text,
            negative_prompt=expanded.negative,
            references=expanded.references,
            size=size,
            expansion_version=EXPANSION_VERSION,
        ),
        explicit_parameters=_explicit_parameters(given, suffix),
    )


def _command_level(overrides: RequestOverrides) -> GenerationOptions:
    return GenerationOptions(
        provider=overrides.provider,
        model=overrides.model,
        image_size=None if overrides.image_size is None else parse_size(overrides.image_size),
        seed=overrides.seed,
        steps=overrides.steps,
    )


def _merged(levels: Sequence[GenerationOptions]) -> GenerationOptions:
    """Merge levels, the strongest first; arguments name by name."""
    arguments: dict[str, Any] = {}
    for level in reversed(levels):
        arguments.update(level.arguments)
    return GenerationOptions(
        image_size=_first(level.image_size for level in levels),
        seed=_first(level.seed for level in levels),
        steps=_first(level.steps for level in levels),
        guidance=_first(level.guidance for level in levels),
        output_format=_first(level.output_format for level in levels),
        arguments=MappingProxyType(arguments),
    )


def _named_model(provider: str, levels: Sequence[GenerationOptions]) -> str | None:
    """Give the strongest model that is meant for this provider; a command always means it."""
    command, *document_levels = levels
    if command.model:
        return command.model
    for depth, level in enumerate(document_levels):
        named = _first(weaker.provider for weaker in document_levels[depth:])
        if level.model and (named or PROVIDER_OF_BARE_MODELS) == provider:
            return level.model
    return None


def _explicit_parameters(given: GenerationOptions, prompt_suffix: str) -> Mapping[str, Any]:
    parameters = {
        "seed": given.seed,
        "steps": given.steps,
        "guidance": given.guidance,
        "output_format": given.output_format,
        "arguments": dict(given.arguments) or None,
        "prompt_suffix": prompt_suffix or None,
    }
    return MappingProxyType({name: v for name, v in parameters.items() if v is not None})


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
