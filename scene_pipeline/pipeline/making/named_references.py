"""Reference pictures that a request names by their addresses: looked at once, before it is paid.

Every one is fetched under the rules for addresses that we were given (ASSET_HOST_ALLOWLIST) and
checked like any other picture, so that the ledger knows what was sent by its bytes. The provider
then fetches the same address itself.

Belongs here: addresses that a command or a regeneration request names in the place of the
document's. Does not belong here: frames of a continuity group (`pipeline.making.continuity`).
"""

import hashlib
from typing import Any

from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import FetchError, ProviderError
from scene_pipeline.pipeline.keeping.references import is_reachable
from scene_pipeline.pipeline.planning.chains import named_references
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageProvider

FETCH_ATTEMPTS = 3


async def look_at_named(
    services: Services, provider: ImageProvider, generation: Generation
) -> list[dict[str, Any]]:
    """Fetch and check what a request names, for the ledger's `reference_images`.

    Raises:
        ProviderError: code "references_unsupported": the model takes fewer; nothing was fetched.
        FetchError: One cannot be fetched, by us or by the provider, or must not be.
        ImageError: One is not a picture that we accept.
    """
    urls = named_references(generation) or ()
    taken = provider.reference_limits(generation.endpoint).max_count
    if len(urls) > taken:
        raise ProviderError(
            f"{generation.endpoint} takes {taken or 'no'} reference pictures, and {len(urls)} were"
            " named.",
            code="references_unsupported",
            next_action="Name fewer reference pictures, or a model that takes as many.",
            charge="not_charged",
        )
    return [await _look_at(services, provider, url) for url in urls]


async def _look_at(services: Services, provider: ImageProvider, url: str) -> dict[str, Any]:
    if provider.capabilities.fetches_references and not is_reachable(url):
        raise FetchError(
            f"{provider.name} cannot fetch a reference picture from a private address.",
            code="reference_unreachable",
            next_action="Name one at a public https address.",
        )
    fetched = await with_retries(
        lambda: services.call(services.fetcher.fetch, url),
        attempts=FETCH_ATTEMPTS,
        sleep=services.sleep,
    )
    image = await services.call(services.workers.inspect, fetched.data, metadata={}, embed=False)
    return {
        "reference": url,
        "source": fetched.final_url_redacted,
        "url": url,
        "storage_key": None,
        "sha256": hashlib.sha256(fetched.data).hexdigest(),
        "content_type": image.content_type,
        "width": image.width,
        "height": image.height,
        "size_bytes": len(fetched.data),
        "etag": None,
        "last_modified": None,
    }
