"""Verdicts on a scene's frame from what is known of it, in words: a table of rules without I/O.

Belongs here: what a fact means, and what to do about it. Does not belong here: getting the facts
(`frames`, `addresses`), what the checks are (`pipeline.checks`).
"""

import shlex
from collections.abc import Sequence
from typing import Final

from scene_pipeline.database.checked_frames import PictureRecord, RefusedPicture, SceneStanding
from scene_pipeline.media.perceptual import Likeness
from scene_pipeline.pipeline.checking.addresses import Answer
from scene_pipeline.pipeline.checks import (
    CHECK_BY_NAME,
    MAX_WORDS_LENGTH,
    CheckName,
    CheckSeverity,
    CheckVerdict,
)
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.scenes.planning import readable_causes

UNDECODABLE: Final = (
    "not_image",
    "not_allowed",
    "truncated_image",
    "bomb",
    "bad_dimensions",
    "animated",
    "decode_resource",
)
"""Codes of `ImageError` that say of a picture that it cannot be decoded, or must not be."""
_LOOKS_LIKE = "Version {} looks like version {}:"
_IS_ANOTHER = "Version {} is another picture than version {}:"


def standing_verdicts(standing: SceneStanding) -> list[CheckVerdict]:
    """What the document says of the scene's frame; nothing where there is no frame."""
    if standing.version is None or not standing.is_in_document:
        return []
    return [_document_verdict(standing, standing.version), _prompt_verdict(standing)]


def picture_verdicts(
    ref: SceneRef, record: PictureRecord | None, refused: RefusedPicture | None
) -> list[CheckVerdict]:
    """What was recorded when the picture was stored, and of a newer one that was refused."""
    told = [
        _soundness("image_decodes", ref, record, None if refused and refused.is_blank else refused),
        _soundness("not_blank", ref, record, refused if refused and refused.is_blank else None),
    ]
    if record is not None and record.width is not None and record.height is not None:
        told.insert(1, _size_verdict(record, record.width, record.height))
    return [verdict for verdict in told if verdict is not None]


def is_compared(record: PictureRecord, words: str) -> bool:
    """Whether the words of a verdict compare the very pictures of a record.

    They need not be looked at again then: the bytes of a version never change.
    """
    this, before = record.version, record.previous_version
    return words.startswith((_LOOKS_LIKE.format(this, before), _IS_ANOTHER.format(this, before)))


def duplicate_verdict(
    ref: SceneRef, record: PictureRecord, likeness: Likeness | None
) -> CheckVerdict | None:
    """Whether the picture can be told from the one before it.

    Args:
        ref: The scene.
        record: Its current version.
        likeness: Of the two; None where one of them has no thumbnail that can be read.
    """
    name: CheckName = "not_a_duplicate_of_the_previous_version"
    this, before = record.version, record.previous_version
    if before is None:
        return _passed(name, this, f"Version {this} has no sound version before it.")
    if record.sha256 is not None and record.sha256 == record.previous_sha256:
        same = f"Version {this} has the very bytes of version {before}."
    elif likeness is None:
        return None
    elif likeness.is_same:
        same = (
            f"{_LOOKS_LIKE.format(this, before)} {likeness.bits} of 64 bits of their"
            f" perceptual hashes and {likeness.levels:g} of 255 levels of colour differ."
        )
    else:
        return _passed(
            name,
            this,
            f"{_IS_ANOTHER.format(this, before)} {likeness.bits} of 64 bits"
            f" of their perceptual hashes and {likeness.levels:g} of 255 levels of colour differ.",
        )
    action = f"For another picture, change the prompt or the seed: {_another(ref)}."
    return _failed(name, this, f"{same} {action}")


def address_verdict(ref: SceneRef, version: int, answer: Answer) -> CheckVerdict | None:
    """What the version's address gave; None where that says nothing about it."""
    name: CheckName = "url_serves_the_stored_bytes"
    match answer.kind:
        case "serves":
            return _passed(name, version, f"Version {version}: {answer.words}")
        case "wrong":
            project = shlex.quote(ref.project_key)
            action = f"See what is lost: `scene-pipeline reconcile {project}`."
            return _failed(name, version, f"Version {version}: {answer.words} {action}")
        case "unreachable":
            action = "See that the host answers from here; the truth sweep asks again."
            words = f"Version {version}: {answer.words} {action}"
            return _failed(name, version, words, severity="warn")
        case "nobody":
            return None


def external_verdict(ref: SceneRef, record: PictureRecord) -> CheckVerdict:
    """A version that has no permanent address yet."""
    project = shlex.quote(ref.project_key)
    return _failed(
        "url_serves_the_stored_bytes",
        record.version,
        f"Version {record.version} is at its provider only, at an address that will expire."
        f" Bring it home: `scene-pipeline heal {project}`.",
        severity="warn",
    )


def _document_verdict(standing: SceneStanding, version: int) -> CheckVerdict:
    name: CheckName = "document_points_to_current"
    if standing.document_url == standing.url:
        return _passed(name, version, f"The document points to version {version}.")
    holds = (
        "holds no start frame"
        if standing.document_url is None
        else "points to something else than the current version"
    )
    action = (
        "Write the URL back: "
        f"`scene-pipeline reconcile {shlex.quote(standing.project_key)} --apply`."
    )
    return _failed(name, version, f"The document {holds}, which is version {version}. {action}")


def _prompt_verdict(standing: SceneStanding) -> CheckVerdict:
    name: CheckName = "prompt_unchanged_since"
    version = standing.version
    ref = SceneRef(standing.project_key, standing.scene_id)
    if standing.problem is not None:
        words = f"{standing.problem} Version {version} stands. Correct the scene in the document."
        return _failed(name, version, words)
    if standing.is_unplanned:
        causes: Sequence[str] = ["prompt"] if standing.is_prompt_another else []
    else:
        causes = readable_causes(standing.stale_causes) if standing.stale_causes else []
    if not causes:
        words = f"The document says what version {version} was made from."
        return _passed(name, version, words)
    if standing.is_chosen and not standing.is_unplanned:
        words = f"Version {version} was made from other words, and chosen for these by hand."
        return _passed(name, version, words)
    return _failed(
        name,
        version,
        f"Changed since version {version} was made: {_listed(causes)}. For a new version:"
        f" {_another(ref)}; to keep this one, promote it: `scene-pipeline promote"
        f" {shlex.quote(ref.project_key)} {shlex.quote(ref.scene_id)} {version}`.",
    )


def _soundness(
    name: CheckName, ref: SceneRef, record: PictureRecord | None, refused: RefusedPicture | None
) -> CheckVerdict | None:
    if refused is not None:
        stands = (
            "The scene has no frame."
            if refused.version is None
            else f"Version {refused.version} stands."
        )
        what = (
            "is of a single colour"
            if refused.is_blank
            else f"cannot be used [{refused.code}]: {refused.message.rstrip('.')}"
        )
        words = f"The newest picture {what}. {stands} Ask for another one: {_another(ref)}."
        return _failed(name, refused.version, words)
    if record is None:
        return None
    words = {
        "image_decodes": f"Every pixel of version {record.version} was decoded.",
        "not_blank": f"Version {record.version} is not of a single colour.",
    }[name]
    return _passed(name, record.version, words)


def _size_verdict(record: PictureRecord, width: int, height: int) -> CheckVerdict:
    name: CheckName = "size_as_requested"
    if (width, height) == (record.wanted_width, record.wanted_height):
        return _passed(name, record.version, f"{width} x {height} pixels, as asked for.")
    return _failed(
        name,
        record.version,
        f"Version {record.version} is {width} x {height} pixels; {record.wanted_width} x"
        f" {record.wanted_height} were asked for. Name a size that the model makes as image_size in"
        " the document's generation settings, or leave it as it is.",
    )


def _another(ref: SceneRef) -> str:
    return (
        f"`scene-pipeline run {shlex.quote(ref.project_key)} --regenerate"
        f" --scene {shlex.quote(ref.scene_id)}`"
    )


def _listed(causes: Sequence[str]) -> str:
    *first, last = causes
    return f"{', '.join(first)} and {last}" if first else last


def _passed(name: CheckName, version: int | None, words: str) -> CheckVerdict:
    severity = CHECK_BY_NAME[name].severity
    return CheckVerdict(name, passed=True, severity=severity, words=_cut(words), version=version)


def _failed(
    name: CheckName, version: int | None, words: str, *, severity: CheckSeverity | None = None
) -> CheckVerdict:
    severity = severity or CHECK_BY_NAME[name].severity
    return CheckVerdict(name, passed=False, severity=severity, words=_cut(words), version=version)


def _cut(words: str) -> str:
    return words if len(words) <= MAX_WORDS_LENGTH else f"{words[: MAX_WORDS_LENGTH - 1]}…"
