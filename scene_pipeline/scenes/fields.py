"""Known fields that project and scene share: how each of their spellings is read.

Belongs here: style, characters, references and generation options as plain values. Does not belong
here: their validation, which the schema has done before (`scenes.problems`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from scene_pipeline.scenes.sizes import ImageSize, parse_size

OutputFormat = Literal["png", "jpeg"]
SeedPolicy = Literal["random", "fixed", "reuse", "increment"]
"""Where a seed comes from that nobody gave. random: derived from the request's key, another one for
every new version. fixed: derived from project and scene, the same for ever. reuse: the current
version's. increment: the current version's, plus one. Without a current version the last two are as
random."""
NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How frames are made, as far as one level says; None leaves a value to the level below."""

    provider: str | None = None
    model: str | None = None
    image_size: ImageSize | None = None
    seed: int | None = None
    seed_policy: SeedPolicy | None = None
    """Where the seed comes from; of no account where one is given, on whatever level."""
    steps: int | None = None
    guidance: float | None = None
    output_format: OutputFormat | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: NO_ARGUMENTS)
    """Further arguments of the model; levels are merged name by name."""


@dataclass(frozen=True, slots=True)
class Character:
    """Somebody or something that looks the same in every scene."""

    name: str
    """As it is written into prompts."""
    description: str | None = None
    references: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Other names it is found by: the key or `id` beside a `name`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it is found by."""
        return (self.name, *self.aliases)


def read_text(value: object) -> str | None:
    """Read an optional text; null, "" and white space alone mean that there is none."""
    return value.strip() or None if isinstance(value, str) else None


def read_style(value: object) -> str | None:
    """Read `style`: a text, or an object whose texts and lists of texts become one.

    An object's `description` comes first and bare, the other members follow as "key: text" sorted
    by key, so that the order in which a database keeps an object's members changes nothing.
    Members of other kinds are kept in the document and not used.
    """
    if not isinstance(value, Mapping):
        return read_text(value)
    texts = {key: text for key, member in value.items() if (text := _joined(member)) is not None}
    first = texts.pop("description", None)
    labelled = [f"{key.replace('_', ' ')}: {texts[key]}" for key in sorted(texts)]
    return "; ".join([*([first] if first else []), *labelled]) or None


def read_references(value: object) -> tuple[str, ...]:
    """Read `references`: each a URL, a storage key or `asset:ID`; doubles are dropped."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    found = (_reference(element) for element in value)
    return tuple(dict.fromkeys(reference for reference in found if reference))


def read_characters(value: object) -> tuple[Character, ...]:
    """Read `characters`: an object by name, or a list of names and objects."""
    if isinstance(value, Mapping):
        return tuple(_character(key, member) for key, member in value.items())
    return tuple(_listed_characters(value))


def read_generation(value: object) -> GenerationOptions:
    """Read `generation`.

    Raises:
        UsageError: code "image_size_invalid".
    """
    if not isinstance(value, Mapping):
        return GenerationOptions()
    size, seed, steps = (value.get(name) for name in ("image_size", "seed", "steps"))
    return GenerationOptions(
        provider=value.get("provider"),
        model=value.get("model"),
        image_size=None if size is None else parse_size(size),
        seed=None if seed is None else int(seed),  # the schema lets 7.0 pass as a whole number
        seed_policy=value.get("seed_policy"),
        steps=None if steps is None else int(steps),
        guidance=value.get("guidance"),
        output_format=value.get("output_format"),
        arguments=MappingProxyType(dict(value.get("arguments") or {})),
    )


def _joined(value: object) -> str | None:
    if isinstance(value, list):
        return ", ".join(text for element in value if (text := read_text(element))) or None
    return read_text(value)


def _reference(value: object) -> str | None:
    if isinstance(value, Mapping):
        asset, url = value.get("asset"), value.get("url")
        return url if isinstance(url, str) else f"asset:{asset}"
    return read_text(value)


def _listed_characters(value: object) -> Iterator[Character]:
    if not isinstance(value, list):
        return
    for element in value:
        if isinstance(element, str):
            yield Character(element)
        else:
            yield _character(element.get("id") or element["name"], element)


def _character(key: str, value: object) -> Character:
    if not isinstance(value, Mapping):
        return Character(key, read_text(value))
    name = value.get("name") or key
    return Character(
        name=name,
        description=read_text(value.get("description")),
        references=read_references([value.get("reference"), *(value.get("references") or [])]),
        aliases=() if name == key else (key,),
    )
