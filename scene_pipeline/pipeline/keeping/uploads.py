"""Putting a checked picture into the store: the one way that frames and repairs share."""

import asyncio

from scene_pipeline.media.images import InspectedImage
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.telemetry.stages import stage

UPLOAD_ATTEMPTS = 4


async def upload(
    services: Services, key: str, image: InspectedImage, gate: asyncio.Semaphore
) -> None:
    """Store a picture under its key, tried again while the store says that this may help.

    Raises:
        StorageError: The store refused it for good, or as often as it is asked.
    """
    async with gate:
        with stage("upload", key=key, bytes=len(image.data)):
            await with_retries(
                lambda: services.call(
                    services.store.put,
                    key,
                    image.data,
                    content_type=image.content_type,
                    sha256=image.sha256,
                ),
                attempts=UPLOAD_ATTEMPTS,
                sleep=services.sleep,
            )
