"""What is asked of which provider for a scene: settings, project, scene and command in one request.

Belongs here: precedence. Does not belong here: prices, seeds that the program chooses, and whether
the request is worth making (planning).

Precedence rises from settings over project and scene to the command. A model belongs to a provider:
one that the document names without a provider is meant for Fal. Where another provider ends up
being used (offline, because there is no key), that provider's own default takes its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.document import GenerationOptions, ProjectDocument, Scene
from scene_pipeline.scenes.fields import OutputFormat, SeedPolicy
from scene_pipeline.scenes.hashes import content_hash, request_hash
from scene_pipeline.scenes.overrides import RequestOverrides, read_overrides
from scene_pipeline.scenes.prompts import EXPANSION_VERSION, expand_prompt
from scene_pipeline.scenes.sizes import ImageSize, parse_size

__all__ = [
    "RequestDefaults",
    "RequestOverrides",
    "ResolvedRequest",
    "read_overrides",
    "resolve_request",
]

T = TypeVar("T")

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
    seed_policy: SeedPolicy = "random"


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """What to ask for, complete but for the seed where none was given."""

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
    """Pixels, as sent."""
    height: int
    """Pixels, as sent."""
    seed: int | None
    """Given by document or command; None where the program chooses."""
    seed_policy: SeedPolicy
    """How it chooses then."""
    image_count: int
    """Candidates to ask for in the one request."""
    steps: int | None
    guidance: float | None
    output_format: OutputFormat
    arguments: Mapping[str, Any]
    references: tuple[str, ...]
    """Pictures to go by: the document's, or those that a command names in their place."""
    document_size: ImageSize
    """What the document asks for: content, where `width` and `height` are what is sent."""
    document_references: tuple[str, ...]
    """The document's: content, where `references` are what counts for the request."""
    document_digests: tuple[str | None, ...]
    """The sha256 of each of them; None where its bytes were never seen."""
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

    def hash_with(self, seed: int) -> str:
        """Hash all that is sent when this seed is; equal hashes mean the same request."""
        return request_hash(
            provider=self.provider,
            endpoint=self.endpoint,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            references=self.references,
            size=self.size,
            seed=seed,
            steps=self.steps,
            guidance=self.guidance,
            output_format=self.output_format,
            arguments=self.arguments,
            image_count=self.image_count,
            reference_digests=self._known_digests(),
        )

    def _known_digests(self) -> tuple[str, ...]:
        """What is sent along, as far as it is settled before: the document's own pictures."""
        known = tuple(digest for digest in self.document_digests if digest is not None)
        is_settled = len(known) == len(self.references) == len(self.document_references)
        return known if is_settled and self.references == self.document_references else ()


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
    sent = expanded
    if overrides.prompt is not None:
        sent = expand_prompt(document, replace(scene, prompt=overrides.prompt))
    given = _merged(levels)
    document_size = _merged(levels[1:]).image_size or parse_size(defaults.image_size)
    size = given.image_size or document_size
    suffix = (overrides.prompt_suffix or "").strip()
    pictures = (document.pictures.get(name) for name in expanded.references)
    digests = tuple(picture.sha256 if picture else None for picture in pictures)
    return ResolvedRequest(
        provider=provider,
        endpoint=_named_model(provider, levels) or defaults.models[provider],
        scene_prompt=scene.prompt,
        expanded_prompt=expanded.text,
        prompt=f"{sent.text}\n\n{suffix}" if suffix else sent.text,
        negative_prompt=expanded.negative,
        width=size.width,
        height=size.height,
        seed=given.seed,
        seed_policy=given.seed_policy or defaults.seed_policy,
        image_count=overrides.candidates or 1,
        steps=defaults.steps if given.steps is None else given.steps,
        guidance=given.guidance,
        output_format=given.output_format or defaults.output_format,
        arguments=given.arguments,
        references=(expanded.references if overrides.references is None else overrides.references),
        document_size=document_size,
        document_references=expanded.references,
        document_digests=digests,
        character_names=tuple(character.name for character in sent.characters),
        content_hash=content_hash(
            expanded_prompt=expanded.text,
            negative_prompt=expanded.negative,
            references=expanded.references,
            size=document_size,
            expansion_version=EXPANSION_VERSION,
            reference_digests=digests,
        ),
        explicit_parameters=_explicit_parameters(given, overrides),
    )


def _command_level(overrides: RequestOverrides) -> GenerationOptions:
    return GenerationOptions(
        provider=overrides.provider,
        model=overrides.model,
        image_size=None if overrides.image_size is None else parse_size(overrides.image_size),
        seed=overrides.seed,
        seed_policy=overrides.seed_policy,
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
        seed_policy=_first(level.seed_policy for level in levels),
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


def _explicit_parameters(
    given: GenerationOptions, overrides: RequestOverrides
) -> Mapping[str, Any]:
    """Give what names the request.

    A policy counts where it was asked for by name and chooses the seed: whoever changes it wants
    another picture. The seed that it leads to does not, since the current version, and with it the
    seed of `reuse` and `increment`, may change between two planners of the same request; the row
    that is written first holds.
    """
    parameters = {
        "seed": given.seed,
        "seed_policy": given.seed_policy if given.seed is None else None,
        "steps": given.steps,
        "guidance": given.guidance,
        "output_format": given.output_format,
        "arguments": dict(given.arguments) or None,
        "prompt": (overrides.prompt or "").strip() or None,
        "prompt_suffix": (overrides.prompt_suffix or "").strip() or None,
        "image_size": None if overrides.image_size is None else str(given.image_size),
        "references": None if overrides.references is None else list(overrides.references),
        "candidates": overrides.candidates if (overrides.candidates or 1) > 1 else None,
    }
    return MappingProxyType({name: v for name, v in parameters.items() if v is not None})


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
