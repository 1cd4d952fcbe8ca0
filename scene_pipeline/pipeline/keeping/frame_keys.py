"""Which key a frame is stored under: its own, or the next where that one was collected.

A frame's key follows from its generation and its bytes, so that doing a step again makes the same
key. A key that the collector has used up is never taken again (its deletion may still be on the
way), and then the same bytes get a key that shows one more digit of their digest.
"""

from typing import Final

from scene_pipeline.database import objects
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import LedgerError
from scene_pipeline.media.images import InspectedImage
from scene_pipeline.scenes.identity import KEY_DIGITS, MAX_KEY_DIGITS, frame_storage_key

OBJECT_COLLECTED: Final = "object_collected"


async def intend_frame(
    conn: Connection, generation: Generation, image: InspectedImage, image_index: int = 0
) -> str:
    """Register the intent to upload a generation's picture, under the first key that is free.

    Args:
        conn: Of the caller.
        generation: Whose picture it is.
        image: The checked picture.
        image_index: Which of its candidates.

    Returns:
        The key to upload to.

    Raises:
        LedgerError: code "object_collected": every key of this picture is used up.
    """
    for digits in range(KEY_DIGITS, MAX_KEY_DIGITS + 1):
        key = frame_storage_key(
            generation.project_id,
            generation.scene_id,
            generation.created_at,
            image.sha256,
            image.extension,
            image_index=image_index,
            digits=digits,
        )
        try:
            await objects.register_intent(
                conn,
                key,
                sha256=image.sha256,
                size_bytes=len(image.data),
                content_type=image.content_type,
            )
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED or digits == MAX_KEY_DIGITS:
                raise
        else:
            return key
    raise AssertionError("KEY_DIGITS must not exceed MAX_KEY_DIGITS")
