"""The master JSON as typed values: what it says, and everything that is wrong with it at once.

Belongs here: the shape of a document and which scenes of it are usable. Does not belong here: the
bytes it came in (`scenes.json_text`), what is sent for a scene (`scenes.requests`).

A scene with a problem is set aside with its reason, and the others go on. What concerns every scene
(no scenes, a style that is a number) refuses the document.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from scene_pipeline.errors import DocumentError, Problem, UsageError
from scene_pipeline.scenes.fields import (
    Character,
    GenerationOptions,
    read_characters,
    read_generation,
    read_references,
    read_style,
    read_text,
)
from scene_pipeline.scenes.identity import project_key_problem, scene_id_problem
from scene_pipeline.scenes.json_text import kind_of, member_path, parse_document
from scene_pipeline.scenes.problems import document_problems, scene_problems
from scene_pipeline.scenes.references import KnownPicture
from scene_pipeline.scenes.sizes import parse_size

__all__ = [
    "MAX_SCENES",
    "Character",
    "GenerationOptions",
    "ProjectDocument",
    "Scene",
    "parse_document",
    "read_document",
]

MAX_SCENES = 10_000


@dataclass(frozen=True, slots=True)
class Scene:
    """One usable scene of a document."""

    scene_id: str
    position: int
    """Place in the document, from 1, counting the scenes that are set aside, too."""
    prompt: str
    """`scene_frame_prompt` exactly as the document has it: publishing compares it."""
    start_frame: str | None
    """`scene_start_frame`, the URL that the document carries now."""
    generation: GenerationOptions
    references: tuple[str, ...]
    """The scene's own, each a URL, a storage key or `asset:ID`."""
    character_names: tuple[str, ...] | None
    """Who is in the picture; None where the scene does not say, so that the prompt's words do."""
    own_characters: tuple[Character, ...]
    """Characters that only this scene describes; they hide the project's of the same name."""
    negative_prompt: str | None
    """Replaces the project's; None where the scene has none of its own."""
    continuity_group: str | None


@dataclass(frozen=True, slots=True)
class ProjectDocument:
    """A master JSON that can be worked on."""

    key: str | None
    """`project.key`; None where the document leaves it to its file's name."""
    title: str | None
    style: str | None
    negative_prompt: str | None
    characters: tuple[Character, ...]
    references: tuple[str, ...]
    generation: GenerationOptions
    scenes: tuple[Scene, ...]
    """The usable ones, in the order of the document."""
    scene_order: tuple[str, ...]
    """Ids of all scenes, those set aside too, in the order of the document."""
    problems: tuple[Problem, ...]
    """Why the other scenes are set aside; every one carries its `scene_id`."""
    notices: tuple[Problem, ...]
    """Doubtful, yet no reason to set a scene aside: names of characters that nobody describes."""
    pictures: Mapping[str, KnownPicture] = field(default_factory=lambda: MappingProxyType({}))
    """What is known of the pictures that it names, by name; the document itself does not say it."""

    @property
    def named_pictures(self) -> tuple[str, ...]:
        """Every reference that stands anywhere in it, once."""
        named = [*self.references]
        for character in self.characters:
            named += character.references
        for scene in self.scenes:
            named += scene.references
            for character in scene.own_characters:
                named += character.references
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of `scenes` before it is judged."""

    scene_id: str
    position: int
    path: str
    value: Any
    is_listed: bool


def read_document(document: Mapping[str, Any], *, order: Sequence[str] = ()) -> ProjectDocument:
    """Read a parsed master JSON.

    Args:
        document: From `parse_document`, or from the database.
        order: Scene ids in the order of the film. PostgreSQL's jsonb does not keep the order of an
            object's members: without this, "scene_10" still follows "scene_9", but "finale" comes
            before "opening". Ids that it does not hold follow at the end.

    Returns:
        The document with its usable scenes and the reasons why others are set aside.

    Raises:
        DocumentError: The document as a whole cannot be used. `problems` lists every reason and
            what is wrong with single scenes, too; `error_code` is the first one's: no_scenes,
            scenes_invalid, bad_project_key or schema.
    """
    entries = _entries(document.get("scenes"), order)
    repeated = {scene_id for scene_id, n in Counter(e.scene_id for e in entries).items() if n > 1}
    problems = [problem for entry in entries for problem in _entry_problems(entry, repeated)]
    refusals = [*_scenes_problems(document), *_document_problems(document)]
    if refusals:
        more = len(refusals) + len(problems) - 1
        hint = f" ({more} more to correct)." if more else "."
        raise DocumentError(
            refusals[0].message.rstrip(".") + hint,
            code=refusals[0].code,
            problems=[*refusals, *problems],
        )
    set_aside = {problem.scene_id for problem in problems}
    scenes = tuple(_scene(entry) for entry in entries if entry.scene_id not in set_aside)
    characters = read_characters(document.get("characters"))
    project = document.get("project") or {}
    return ProjectDocument(
        key=project.get("key"),
        title=read_text(project.get("title")),
        style=read_style(document.get("style")),
        negative_prompt=read_text(document.get("negative_prompt")),
        characters=characters,
        references=read_references(document.get("references")),
        generation=read_generation(document.get("generation")),
        scenes=scenes,
        scene_order=tuple(dict.fromkeys(entry.scene_id for entry in entries)),
        problems=tuple(problems),
        notices=tuple(_notices(characters, scenes)),
    )


def _scenes_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    scenes = document.get("scenes")
    if "scenes" not in document or scenes in ({}, []):
        message = "The document has no scenes: give at least one under `scenes`."
        yield Problem("no_scenes", "$.scenes", message)
    elif not isinstance(scenes, Mapping | list):
        message = (
            "`scenes` must be an object of scenes by id, or a list of scenes with `id`; it is"
            f" {kind_of(scenes)}."
        )
        yield Problem("scenes_invalid", "$.scenes", message)
    elif len(scenes) > MAX_SCENES:
        message = f"The document has {len(scenes)} scenes, of which {MAX_SCENES} are allowed."
        yield Problem("scenes_invalid", "$.scenes", message)


def _document_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    yield from document_problems(document)
    project = document.get("project")
    key = project.get("key") if isinstance(project, Mapping) else None
    if isinstance(key, str) and (problem := project_key_problem(key)) is not None:
        yield Problem("bad_project_key", "$.project.key", problem)
    yield from _size_problems(document.get("generation"), "$.generation", None)


def _entries(scenes: object, order: Sequence[str]) -> list[_Entry]:
    if isinstance(scenes, Mapping):
        known = [scene_id for scene_id in dict.fromkeys(order) if scene_id in scenes]
        return [
            _Entry(scene_id, position, member_path("$.scenes", scene_id), scenes[scene_id], False)
            for position, scene_id in enumerate(dict.fromkeys([*known, *scenes]), 1)
        ]
    if isinstance(scenes, list):
        return [
            _Entry(_listed_id(value, index), index + 1, f"$.scenes[{index}]", value, True)
            for index, value in enumerate(scenes)
        ]
    return []


def _listed_id(value: object, index: int) -> str:
    """Give an entry's id; one without is called by its place, so that it can be talked about."""
    scene_id = value.get("id") if isinstance(value, Mapping) else None
    return scene_id if isinstance(scene_id, str) else f"scenes[{index}]"


def _entry_problems(entry: _Entry, repeated: Set[str]) -> Iterator[Problem]:
    scene_id = entry.scene_id
    problem = scene_id_problem(scene_id)
    if problem is not None:
        yield Problem("bad_scene_id", entry.path, problem, scene_id)
    if scene_id in repeated:
        message = f'The scene id "{scene_id[:80]}" stands more than once; none of them is used.'
        yield Problem("duplicate_scene", entry.path, message, scene_id)
    yield from scene_problems(
        entry.value, path=entry.path, scene_id=scene_id, is_listed=entry.is_listed
    )
    if isinstance(entry.value, Mapping):
        path = f"{entry.path}.generation"
        yield from _size_problems(entry.value.get("generation"), path, scene_id)


def _size_problems(generation: object, path: str, scene_id: str | None) -> Iterator[Problem]:
    """Find what the schema cannot say about a size: its bounds taken together."""
    size = generation.get("image_size") if isinstance(generation, Mapping) else None
    if not isinstance(size, str | Mapping):
        return
    try:
        parse_size(size)
    except UsageError as error:
        where = "" if scene_id is None else f'In scene "{scene_id[:80]}": '
        message = f"{where}{error.message} {error.next_action}"
        yield Problem("schema", f"{path}.image_size", message, scene_id)


def _scene(entry: _Entry) -> Scene:
    value: Mapping[str, Any] = entry.value
    characters = read_characters(value.get("characters"))
    return Scene(
        scene_id=entry.scene_id,
        position=entry.position,
        prompt=value["scene_frame_prompt"],
        start_frame=value.get("scene_start_frame") or None,
        generation=read_generation(value.get("generation")),
        references=read_references(value.get("references")),
        character_names=(
            None
            if value.get("characters") is None
            else tuple(character.name for character in characters)
        ),
        own_characters=tuple(c for c in characters if c.description or c.references),
        negative_prompt=read_text(value.get("negative_prompt")),
        continuity_group=read_text(value.get("continuity_group")),
    )


def _notices(characters: Sequence[Character], scenes: Iterable[Scene]) -> Iterator[Problem]:
    """Find names that a scene gives and nobody describes, in a film that describes characters."""
    if not characters:
        return
    known = {name.casefold() for character in characters for name in character.names}
    for scene in scenes:
        own = {name.casefold() for character in scene.own_characters for name in character.names}
        for name in scene.character_names or ():
            if name.casefold() not in known | own:
                message = f'Scene "{scene.scene_id}" names "{name[:80]}", whom nobody describes.'
                path = f"{member_path('$.scenes', scene.scene_id)}.characters"
                yield Problem("unknown_character", path, message, scene.scene_id)
