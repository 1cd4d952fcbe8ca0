"""What a document's references are, as far as our own rows tell: looked up when scenes are derived.

Belongs here: names of the library, of frames and of stored objects. Does not belong here: foreign
servers (`pipeline.references.foreign`), which are asked by runs and `plan` alone; here what was
known of them last is taken as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from scene_pipeline.database import references
from scene_pipeline.database.references import OwnPicture, PictureRow
from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.references import (
    KnownPicture,
    PictureProblem,
    ReferenceName,
    described,
    read_name,
    shown_name,
)

STILL_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp"})
_CORRECT = "Correct the reference in the document, or add the picture with `scene-pipeline assets"
NAME_ANOTHER = "Name a still picture (PNG, JPEG or WebP) instead."


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known of a document's references now, against what the rows say."""

    found: Mapping[str, PictureRow]
    """By name; a foreign address that nobody asked about yet is left out."""
    changed: Mapping[str, PictureRow]
    """Those that the rows do not say so yet."""
    has_other_bytes: bool
    """Whether a digest is another one, so that scenes must be derived again."""

    @property
    def pictures(self) -> dict[str, KnownPicture]:
        """By name, as scenes see them."""
        return {name: row.picture for name, row in self.found.items()}


async def look_up(
    conn: Connection, project_id: UUID, named: Sequence[str], *, check_seconds: float = 0.0
) -> Looked:
    """Look at our own rows for every name; nothing is written.

    Args:
        conn: Anything.
        project_id: Whose document.
        named: Its references.
        check_seconds: Age from which what foreign servers said is due to be asked again.
    """
    known = await references.known_pictures(conn, project_id, check_seconds=check_seconds)
    names = [read_name(text) for text in named]
    own = await references.own_pictures(
        conn,
        asset_ids={name.asset_id for name in names if name.asset_id},
        frame_ids={name.frame_id for name in names if name.frame_id},
        keys={key for name in names for key in name.keys},
    )
    found, changed = {}, {}
    has_other_bytes = False
    for name in names:
        before = known.get(name.text)
        now = _row(name, own, before)
        if now is None:
            continue
        found[name.text] = now
        if before is None or (before.picture, before.asset_id) != (now.picture, now.asset_id):
            changed[name.text] = now
            has_other_bytes |= (before.picture.sha256 if before else None) != now.picture.sha256
    return Looked(found, changed, has_other_bytes)


async def keep(conn: Connection, project_id: UUID, looked: Looked) -> None:
    """Write what was found out about our own pictures, and wake what waited for one."""
    if not looked.changed:
        return
    changed = {name: (row.picture, row.asset_id) for name, row in looked.changed.items()}
    await references.write_pictures(conn, project_id, changed)
    await references.wake_waiting_for_pictures(conn, project_id)


def _row(
    name: ReferenceName, own: Sequence[OwnPicture], before: PictureRow | None
) -> PictureRow | None:
    match = what_is_meant(name, own, before)
    if match is None and name.kind == "address":
        return _foreign(before)
    last = before.picture if before else KnownPicture()
    if match is None:
        asset_id = name.asset_id or (before.asset_id if before else None)
        return PictureRow(replace(last, problem=_missing(name, last.label)), asset_id)
    problem = _problem(name, match)
    if problem is not None:
        # The digest that was known stays: what cannot be sent is no other picture.
        picture = replace(
            last,
            sha256=last.sha256 or match.sha256,
            storage_key=match.key or last.storage_key,
            label=match.label if match.asset_id else None,
            problem=problem,
        )
        return PictureRow(picture, match.asset_id)
    picture = KnownPicture(
        sha256=match.sha256,
        content_type=match.content_type,
        width=match.width,
        height=match.height,
        size_bytes=match.size_bytes,
        storage_key=match.key,
        label=match.label if match.asset_id else None,
    )
    return PictureRow(picture, match.asset_id)


def what_is_meant(
    name: ReferenceName, own: Sequence[OwnPicture], before: PictureRow | None
) -> OwnPicture | None:
    """What the name means; an address must be the very one that we gave out.

    One object may be that of several assets and frames: a deleted one hides no other, what was
    rejected is rejected by any of its names, and a bare object is told less of than either.

    Args:
        name: Taken apart.
        own: Whatever of ours may be it, in any order.
        before: What was known of it last.
    """
    was_ours = before.picture.storage_key if before else None
    meant = []
    for one in own:
        match name.kind:
            case "asset":
                is_meant = one.asset_id == name.asset_id
            case "frame":
                is_meant = one.frame_id == name.frame_id
            case "key":
                is_meant = one.key in name.keys
            case "address":
                # An asset that was given other bytes has another address now; the old one stays
                # that of the old bytes, as long as they are there.
                is_meant = one.url == name.text or (one.key is not None and one.key == was_ours)
            case _:
                is_meant = False
        if is_meant:
            meant.append(one)
    return min(
        meant,
        key=lambda one: (
            one.asset_id is None and one.frame_id is None,
            one.is_deleted,
            not one.is_rejected,
        ),
        default=None,
    )


def _foreign(before: PictureRow | None) -> PictureRow | None:
    """What was known last of an address that is none of ours, by now."""
    if before is None or before.picture.storage_key is None:
        return before
    problem = PictureProblem(
        "reference_missing",
        "A reference picture of ours is not in the object store any more.",
        NAME_ANOTHER,
    )
    return PictureRow(replace(before.picture, problem=problem), before.asset_id)


def _missing(name: ReferenceName, label: str | None) -> PictureProblem:
    shown = described(name.text, label)
    if name.kind == "frame":
        message = f"Reference {shown} is no version of any scene's frame."
    elif name.kind == "key":
        message = f"Reference {shown} is not in the object store."
    elif name.kind == "asset" or name.text.startswith("asset:"):
        message = f"Reference {shown} is not in the library."
    else:
        message = f"Reference {shown} is neither asset:ID, nor a URL, nor a storage key."
    return PictureProblem("reference_missing", message, f"{_CORRECT} add`.")


def _problem(name: ReferenceName, found: OwnPicture) -> PictureProblem | None:
    shown = described(name.text, found.label)
    if found.is_deleted:
        return PictureProblem(
            "reference_missing", f"Reference {shown} was deleted.", f"{_CORRECT} add`."
        )
    if found.is_animated:
        message = f"Reference {shown} is animated, and cannot be gone by."
        return PictureProblem("reference_animated", message, NAME_ANOTHER)
    if found.is_rejected:
        message = f"Reference {shown} was rejected by a content check, and is never sent."
        return PictureProblem("reference_refused", message, NAME_ANOTHER)
    if found.key is None or found.sha256 is None:
        return PictureProblem(
            "reference_unreachable",
            f"Reference {shown_name(name.text)} is at its provider only, and not in our store yet.",
            "Wait until it is healed (`scene-pipeline heal`), or name another picture.",
        )
    if found.content_type not in STILL_TYPES:
        message = f"Reference {shown} is {found.content_type}, and no PNG, JPEG or WebP."
        return PictureProblem("reference_refused", message, NAME_ANOTHER)
    return None
