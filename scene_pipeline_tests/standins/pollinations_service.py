"""A loopback stand-in for Pollinations' two hosts: pictures by GET, and a meter."""

from pathlib import Path
from urllib.parse import unquote

from scene_pipeline.drill.standin.meter import AcceptedSubmit
from scene_pipeline.drill.standin.pictures import draw_picture
from scene_pipeline.drill.standin.proxy import Exchange
from scene_pipeline_tests.standins.loopback_service import LoopbackService

KEYED_HOST = "gen.pollinations.ai"
FREE_HOST = "image.pollinations.ai"
KEY = "sk_standin0123456789abcdef"

REFUSALS = {
    "bad_request": (400, {"success": False, "error": {"message": "Bad.", "code": "BAD_REQUEST"}}),
    "content_policy": (
        400,
        {"success": False, "error": {"message": "NSFW content detected", "code": "BAD_REQUEST"}},
    ),
    "unauthorized": (401, {"success": False, "error": {"message": "A key is needed."}}),
    "payment_required": (402, {"success": False, "error": {"message": "Not enough pollen."}}),
    "forbidden": (403, {"error": "Forbidden", "message": "No access to this model."}),
    "model_missing": (404, {"error": "Not found", "message": "No such model."}),
    "limited": (429, {"error": "Too Many Requests", "message": "Queue full for this address."}),
}
"""Nothing was made."""
LOST_ANSWERS = (
    "drop_after_accept",
    "half_body",
    "hang_after_accept",
    "html",
    "redirect",
    "status_500",
    "status_502",
    "too_long",
)
"""A picture was made, and does not arrive."""


class PollinationsService(LoopbackService):
    """The stand-in."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {KEYED_HOST, FREE_HOST}, {*REFUSALS, *LOST_ANSWERS})
        self.key = KEY
        self.queries: list[dict[str, str]] = []

    def answer(self, exchange: Exchange) -> None:
        is_keyed = exchange.host == KEYED_HOST
        if is_keyed and exchange.headers.get("authorization") != f"Bearer {self.key}":
            exchange.send_json(*REFUSALS["unauthorized"])
            return
        refusal = self.faults.take(REFUSALS)
        if refusal is not None:
            headers = {"Retry-After": "1"} if refusal == "limited" else {}
            exchange.send_json(*REFUSALS[refusal], headers)
            return
        self._make(exchange, "/image/" if is_keyed else "/prompt/")

    def _make(self, exchange: Exchange, prefix: str) -> None:
        query = dict(exchange.query)
        self.queries.append(query)
        prompt = unquote(exchange.path.removeprefix(prefix))
        seed = int(query["seed"])
        self.meter.charge(AcceptedSubmit("", query["model"], prompt, seed, 0.0))
        size = (int(query["width"]), int(query["height"]))
        data = draw_picture(prompt, seed, size, "image/jpeg")
        match self.faults.take(LOST_ANSWERS):
            case None:
                exchange.send(200, data, "image/jpeg")
            case "drop_after_accept":
                exchange.drop()
            case "half_body":
                half = data[: len(data) // 2]
                exchange.send(200, half, "image/jpeg", claimed_length=len(data))
            case "hang_after_accept":
                exchange.hang(5.0)
            case "too_long":
                exchange.send(200, b"x" * 4_000_000, "image/jpeg")
            case "redirect":
                exchange.send(302, b"", "text/plain", {"Location": "https://evil.example/"})
            case "html":
                exchange.send(200, b"<html>Sign in</html>", "text/html")
            case "status_502":
                exchange.send(502, b"<html>Bad gateway</html>", "text/html")
            case _:
                exchange.send_json(500, {"error": "Internal Server Error", "message": "No server"})
