"""The prompt that is really sent: a scene's own words, its characters, the project's style.

Belongs here: who is in a picture and how the parts are joined. Does not belong here: suffixes of a
command and parameters (`scenes.requests`).

The order is scene, characters, style. Text encoders weigh early words most and cut off late ones
(CLIP after 77 tokens, the T5 of FLUX schnell after 256, about 190 words), so the one thing that
makes this picture differ from its neighbours comes first, and what every frame shares comes last.
Each part is a paragraph of its own: encoders read a line break as white space, people read it.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from scene_pipeline.scenes.document import ProjectDocument, Scene
from scene_pipeline.scenes.fields import Character

EXPANSION_VERSION = 1
"""Part of every content hash. Raise it when the same document expands to another prompt; that
makes every existing frame stale."""

_SCRIPTS_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER")


@dataclass(frozen=True, slots=True)
class ExpandedPrompt:
    """What a model is told."""

    text: str
    negative: str | None
    """What must not be in the picture; the scene's own words, else the project's."""
    characters: tuple[Character, ...]
    """Who is in the picture, in the order of the text."""
    references: tuple[str, ...]
    """Pictures to go by: the scene's, then its characters', then the project's; no doubles."""


def expand_prompt(document: ProjectDocument, scene: Scene) -> ExpandedPrompt:
    """Join a scene's prompt with its characters' descriptions and the project's style.

    The same document always gives the same text, whatever order a database keeps its members in.
    The scene's prompt goes in unchanged but for white space around it.
    """
    characters = tuple(_characters_in(document, scene))
    descriptions = [f"{c.name}: {c.description}" for c in characters if c.description]
    parts = [
        scene.prompt.strip(),
        "\n".join(descriptions),
        f"Style: {document.style}" if document.style else "",
    ]
    references = [
        *scene.references,
        *(reference for character in characters for reference in character.references),
        *document.references,
    ]
    return ExpandedPrompt(
        text="\n\n".join(part for part in parts if part),
        negative=scene.negative_prompt or document.negative_prompt,
        characters=characters,
        references=tuple(dict.fromkeys(references)),
    )


def _characters_in(document: ProjectDocument, scene: Scene) -> Iterator[Character]:
    """Give those that the scene names, in its order; else those whose name its prompt holds."""
    if scene.character_names is None:
        yield from _mentioned(scene.prompt, document.characters)
        return
    by_name: dict[str, Character] = {}
    for character in (*scene.own_characters, *document.characters):
        for name in character.names:
            by_name.setdefault(name.casefold(), character)
    found = (by_name.get(name.casefold()) for name in scene.character_names)
    yield from dict.fromkeys(character for character in found if character is not None)


def _mentioned(prompt: str, characters: Sequence[Character]) -> Iterator[Character]:
    places = []
    for character in characters:
        matches = (_whole_word(name).search(prompt) for name in character.names)
        starts = [match.start() for match in matches if match is not None]
        if starts:
            places.append((min(starts), character.name, character))
    for _, _, character in sorted(places, key=lambda place: place[:2]):
        yield character


@lru_cache(maxsize=4096)
def _whole_word(name: str) -> re.Pattern[str]:
    """Match a name that is not part of a longer word, in any case.

    Scripts that put no spaces between words have no such borders, so there a name matches anywhere.
    """
    before = "" if _joins_words(name[0]) else r"(?<!\w)"
    after = "" if _joins_words(name[-1]) else r"(?!\w)"
    return re.compile(f"{before}{re.escape(name)}{after}", re.IGNORECASE)


def _joins_words(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_SCRIPTS_WITHOUT_SPACES)
