"""Tags: short words of the user's own, all of them in lower case and none of them twice.

Belongs here: tags, and the refusals that every change of an asset shares. Does not belong here:
names (`pipeline.library.naming`, `pipeline.library.renaming`).
"""

import unicodedata
from collections.abc import Iterable
from typing import NoReturn

from scene_pipeline.database import asset_changes, assets
from scene_pipeline.database.asset_changes import MAX_TAGS
from scene_pipeline.database.asset_events import append_asset_event
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.scenes.identity import parse_frame_asset_id

MAX_TAG_LENGTH = 64


async def give_tags(conn: Connection, row: AssetRow, tags: tuple[str, ...]) -> AssetRow:
    """Give a locked asset these tags and no others, in the caller's transaction, and tell it.

    Returns:
        The asset as it is then.
    """
    if not await asset_changes.set_tags(conn, row.asset_id, tags):
        return row
    changed = await assets.get_asset(conn, row.asset_id) or row
    told = {
        "added": [tag for tag in tags if tag not in row.tags],
        "removed": [tag for tag in row.tags if tag not in tags],
    }
    await append_asset_event(conn, "asset_tagged", changed, data=told)
    return changed


def normalised_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are kept: in lower case, without white space around or doubled within.

    Raises:
        UsageError: code "tag_invalid" or "too_many_tags".
    """
    cleaned = []
    for tag in tags:
        words = " ".join(unicodedata.normalize("NFC", tag).lower().split())
        if not words.isprintable() or not 1 <= len(words) <= MAX_TAG_LENGTH:
            raise UsageError(
                f"{tag[:MAX_TAG_LENGTH]!r} is no tag.",
                code="tag_invalid",
                next_action=f"A tag has 1 to {MAX_TAG_LENGTH} printable characters.",
            )
        cleaned.append(words)
    return merged_tags((), cleaned)


def merged_tags(tags: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Both together, each once, in the order in which they came.

    Raises:
        UsageError: code "too_many_tags".
    """
    merged = tuple(dict.fromkeys((*tags, *more)))
    if len(merged) > MAX_TAGS:
        raise UsageError(
            f"That makes {len(merged)} tags; an asset has at most {MAX_TAGS}.",
            code="too_many_tags",
            next_action="Remove some first (`scene-pipeline assets tag ID --remove TAG`).",
        )
    return merged


def refuse_frame(asset_id: str, reason: str) -> None:
    """Refuse what cannot be done to a generated frame.

    Raises:
        UsageError: code "asset_is_frame".
    """
    if parse_frame_asset_id(asset_id) is not None:
        raise UsageError(
            f"{asset_id} is a generated frame. {reason}.",
            code="asset_is_frame",
            next_action="Choose and lock versions with `promote` and `lock`; old ones are given up"
            " by `scene-pipeline collect`.",
        )


def raise_unknown(asset_id: str) -> NoReturn:
    """Say that an id is nobody's.

    Raises:
        NotFoundError: code "asset_unknown", always.
    """
    message = f"There is no asset {asset_id[:80]!r}."
    raise NotFoundError(
        message, code="asset_unknown", next_action="Run `scene-pipeline assets list`."
    )
