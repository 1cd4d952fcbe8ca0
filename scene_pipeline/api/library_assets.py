"""`/api/assets` and `/api/urls`: what is in the library, its addresses, and changes to it.

Belongs here: routes. Does not belong here: ways in (`api.library_imports`, `api.library_files`).
"""

from typing import Any, Literal, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from scene_pipeline.api.bodies import read_json
from scene_pipeline.api.errors import NO_STORE
from scene_pipeline.api.frames import FrameEndpoint
from scene_pipeline.api.library_fields import Fields, asset_id_of
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline.api.media import GatewayEndpoint
from scene_pipeline.database.asset_keys import stored_keys
from scene_pipeline.database.derivatives import DerivativeForm
from scene_pipeline.database.rows import MAX_BIGINT
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.addressing import asset_url
from scene_pipeline.pipeline.library.deriving import FORMS
from scene_pipeline.pipeline.library.editing import edit_asset
from scene_pipeline.pipeline.library.removing import remove_asset, require_asset, uses_of
from scene_pipeline.pipeline.library.searching import MAX_PAGE, LibraryQuery, search
from scene_pipeline.pipeline.library.showing import asset_json, use_json
from scene_pipeline.scenes.identity import AssetKind
from scene_pipeline.storage.base import MAX_SIGNED_URL_SECONDS, SIGNED_URL_SECONDS, UrlMode
from scene_pipeline.storage.served import ServedStore

MAX_URLS = 500
"""Addresses that one request asks for."""
_QUERY_FIELDS = frozenset(
    {"text", "tags", "kind", "project", "client_id", "campaign_id", "model", "seed"}
    | {"after", "before", "frames", "limit", "cursor"}
)
AddressMode = Literal["permanent"] | UrlMode
_MODES: tuple[AddressMode, ...] = ("permanent", *get_args(UrlMode))


class AssetRoutes:
    """What is in the library.

    Args:
        library: The parts, opened when they are needed.
    """

    def __init__(self, library: LibraryServices) -> None:
        self._library = library

    def routes(self) -> list[Route]:
        """All of them, below the place where the library is mounted."""
        return [
            Route("/assets", self.list, methods=["GET"]),
            Route("/assets/{asset_id}", self.show, methods=["GET"]),
            Route("/assets/{asset_id}", self.edit, methods=["PATCH"]),
            Route("/assets/{asset_id}", self.remove, methods=["DELETE"]),
            Route("/assets/{asset_id}/data", self.data, methods=["GET"]),
            Route("/assets/{asset_id}/url", self.url, methods=["GET"]),
            Route("/urls", self.urls, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """A page of the library."""
        query = _read_query(Fields.of_query(request.query_params, _QUERY_FIELDS))
        async with self._library.connection() as conn:
            page = await search(conn, query)
        assets = [asset_json(asset) for asset in page.items]
        return answer({"assets": assets, "next_cursor": page.next_cursor})

    async def show(self, request: Request) -> Response:
        """Everything that is known of one thing, and who needs it."""
        Fields.of_query(request.query_params, ())
        async with self._library.connection() as conn:
            asset = await require_asset(conn, asset_id_of(request))
            uses = await uses_of(conn, asset)
        return answer({**asset_json(asset), "uses": [use_json(use) for use in uses]})

    async def edit(self, request: Request) -> Response:
        """Change name and tags."""
        names = ("name", "tags", "add_tags", "remove_tags")
        body = await read_json(request)
        fields = Fields(body, names)
        if not body:
            raise UsageError(
                "Nothing is to be changed.",
                code="field_invalid",
                next_action=f"Give some of {', '.join(names)}.",
            )
        async with self._library.connection() as conn:
            asset = await edit_asset(
                conn,
                asset_id_of(request),
                name=fields.text("name"),
                tags=fields.texts("tags"),
                add=fields.texts("add_tags") or (),
                remove=fields.texts("remove_tags") or (),
            )
        return answer(asset_json(asset))

    async def remove(self, request: Request) -> Response:
        """Remove an asset that nobody needs, or with `force` any."""
        force = Fields.of_query(request.query_params, ("force",)).flag("force", default=False)
        async with self._library.connection() as conn:
            removed = await remove_asset(conn, asset_id_of(request), force=force)
        return answer(
            {
                "asset_id": removed.asset_id,
                "name": removed.name,
                "size_bytes": removed.size_bytes,
                "uses": [use_json(use) for use in removed.uses],
                "grace_hours": self._library.settings.collect_grace_hours,
            }
        )

    async def data(self, request: Request) -> Response:
        """The bytes: sent from a store of our own, else where a fresh signed address leads."""
        Fields.of_query(request.query_params, ())
        services = await self._library.get()
        async with self._library.connection() as conn:
            asset = await require_asset(conn, asset_id_of(request))
        if asset.storage_key is None:  # still at its provider
            headers = {"Cache-Control": NO_STORE, "Referrer-Policy": "no-referrer"}
            return RedirectResponse(asset.url, 302, headers)
        if isinstance(services.store, ServedStore):
            endpoint = FrameEndpoint(services.store)
            return await endpoint.shown(request, asset.storage_key, is_private=True)
        return await GatewayEndpoint(services.store).led_to(request.method, asset.storage_key)

    async def url(self, request: Request) -> Response:
        """One address: permanent or signed, of the thing itself or of another form of it."""
        fields = Fields.of_query(request.query_params, ("mode", "form", "expires_seconds"))
        mode, form, seconds = _read_mode(fields, "permanent"), _read_form(fields), _seconds(fields)
        services = await self._library.get()
        async with self._library.connection() as conn:
            asset = await require_asset(conn, asset_id_of(request))
        url = await asset_url(
            services, asset, mode=_of_store(mode), form=form, expires_seconds=seconds
        )
        return answer({"asset_id": asset.asset_id, "url": url, **_facts(mode, form, seconds)})

    async def urls(self, request: Request) -> Response:
        """Many addresses at once; what there is none of is named."""
        fields = Fields(await read_json(request), ("asset_ids", "mode", "expires_seconds"))
        mode, seconds = _read_mode(fields, "signed"), _seconds(fields)
        asked = tuple(dict.fromkeys(fields.texts("asset_ids", most=MAX_URLS) or ()))
        services = await self._library.get()
        async with self._library.connection() as conn:
            keys = await stored_keys(conn, asked)
        made = await services.call(
            services.store.urls, set(keys.values()), _of_store(mode), expires_seconds=seconds
        )
        return answer(
            {
                "urls": {one: made[keys[one]] for one in asked if one in keys},
                "missing": [one for one in asked if one not in keys],
                **_facts(mode, None, seconds),
            }
        )


def answer(document: dict[str, Any], status: int = 200) -> JSONResponse:
    """A JSON answer that nobody keeps."""
    return JSONResponse(document, status, {"Cache-Control": NO_STORE})


def _of_store(mode: AddressMode) -> UrlMode | None:
    return None if mode == "permanent" else mode


def _facts(mode: AddressMode, form: DerivativeForm | None, seconds: int) -> dict[str, Any]:
    return {
        "mode": mode,
        "form": form,
        "expires_in_seconds": seconds if mode == "signed" else None,
    }


def _read_query(fields: Fields) -> LibraryQuery:
    kind: AssetKind | Literal["frame"] | None
    kind = "frame" if fields.text("kind") == "frame" else fields.kind()
    return LibraryQuery(
        text=fields.text("text"),
        tags=fields.texts("tags") or (),
        kind=kind,
        project_key=fields.text("project"),
        client_id=fields.text("client_id"),
        campaign_id=fields.text("campaign_id"),
        model=fields.text("model"),
        seed=fields.integer("seed", least=0, most=MAX_BIGINT),
        created_after=fields.moment("after"),
        created_before=fields.moment("before"),
        include_frames=fields.flag("frames", default=True),
        limit=fields.integer("limit", least=1, most=MAX_PAGE) or 50,
        cursor=fields.text("cursor"),
    )


def _seconds(fields: Fields) -> int:
    most = MAX_SIGNED_URL_SECONDS
    return fields.integer("expires_seconds", least=1, most=most) or SIGNED_URL_SECONDS


def _read_mode(fields: Fields, default: AddressMode) -> AddressMode:
    text = fields.text("mode") or default
    for mode in _MODES:
        if mode == text:
            return mode
    raise _unknown("mode", _MODES)


def _read_form(fields: Fields) -> DerivativeForm | None:
    text = fields.text("form")
    if text is None:
        return None
    for form in FORMS:
        if form == text:
            return form
    raise _unknown("form", FORMS)


def _unknown(name: str, known: tuple[str, ...]) -> UsageError:
    return UsageError(
        f"There is no such {name}.",
        code="field_invalid",
        next_action=f"Give one of {', '.join(known)}.",
    )
