"""Addresses of one thing in the library: permanent or for a while, of itself or of another form.

Belongs here: which of them is asked for. Does not belong here: how a store makes one (`storage`),
and making another form (`pipeline.library.deriving`).
"""

from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.derivatives import DerivativeForm
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.deriving import derivative_key
from scene_pipeline.pipeline.services import Services
from scene_pipeline.storage.base import SIGNED_URL_SECONDS, UrlMode


async def asset_url(
    services: Services,
    asset: AssetRow,
    *,
    mode: UrlMode | None = None,
    form: DerivativeForm | None = None,
    expires_seconds: int = SIGNED_URL_SECONDS,
) -> str:
    """The address of an asset or frame.

    Args:
        services: Of this process.
        asset: What it leads to.
        mode: None for the permanent one.
        form: Another form of a picture, made now where there is none; None for the thing itself.
        expires_seconds: How long a signed one works.

    Raises:
        UsageError: code "asset_external": its bytes are not in our store; "no_derivative".
        StorageError: The store has no such address, or the picture cannot be read.
    """
    if mode is None and form is None:
        return asset.url
    if asset.storage_key is None:
        raise UsageError(
            f"{asset.asset_id} is still at its provider only.",
            code="asset_external",
            next_action="Bring it home first (`scene-pipeline heal`).",
        )
    key = asset.storage_key
    if form is not None:
        key = await derivative_key(services, key, form)
    made = await services.call(services.store.urls, (key,), mode, expires_seconds=expires_seconds)
    return made[key]
