"""The example film in the middle of its work: made, edited, partly made again, one scene rejected.

It is what a person meets who opens the UI: tests ask it questions, and the documentation's pictures
are taken of it. Its frames cost play money at Fal's stand-in, which draws as the offline provider
does.
"""

import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.providers.landscape.painter import paint
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.servers import free_ports, up
from scene_pipeline_tests.standins.postgres import passable_directory

FILM = Path(__file__).parents[2] / "examples" / "lighthouse.json"
KEY = "lighthouse"
MODEL = "fal-ai/flux/dev"
STALE, INVALID, REJECTED, MADE_TWICE = "scene_5", "scene_7", "scene_9", "scene_2"


@contextmanager
def edited_film() -> Iterator[CommandLine]:
    """The film, with everything up for as long as the block lasts."""
    with (
        passable_directory() as home,
        tempfile.TemporaryDirectory() as scratch,
        FalStandIn(Path(scratch) / "fal") as fal,
    ):
        cli = CommandLine(home / "home", Path(scratch), {**fal.environment, **free_ports()})
        _make_film(cli, fal)
        with up(cli):
            yield cli


def draw_landscape(prompt: str, seed: int, size: tuple[int, int], media_type: str) -> bytes:
    """What the offline provider would draw."""
    encoded = io.BytesIO()
    paint(prompt, seed, size).save(encoded, media_type.rpartition("/")[2].upper(), quality=88)
    return encoded.getvalue()


def _make_film(cli: CommandLine, fal: FalStandIn) -> None:
    fal.media.draw = draw_landscape  # type: ignore[assignment]  # of the same arguments
    document = json.loads(FILM.read_text(encoding="utf-8"))
    scenes = document["scenes"]
    _run(cli, document, *_scenes(scene for scene in scenes if scene != REJECTED))
    fal.faults.add("content_policy")
    _run(cli, KEY, "--scene", REJECTED, code=1)
    scenes[MADE_TWICE]["scene_frame_prompt"] = scenes[MADE_TWICE]["scene_frame_prompt"].replace(
        "a scrubbed pine table", "an oak table under a hanging brass lamp"
    )
    scenes[STALE]["scene_frame_prompt"] += " Heavy rain beats down."
    scenes[INVALID]["scene_frame_prompt"] = " "
    imported = cli("import", _file(cli, document), "--json")
    assert imported.code == 1, imported.err  # one of its scenes cannot be used
    _run(cli, KEY, "--stale", "--scene", MADE_TWICE)


def _scenes(scene_ids: Iterable[str]) -> list[str]:
    return [word for scene_id in scene_ids for word in ("--scene", scene_id)]


def _run(cli: CommandLine, target: dict[str, Any] | str, *arguments: str, code: int = 0) -> None:
    named = target if isinstance(target, str) else _file(cli, target)
    made = cli.run(named, *arguments, "--model", MODEL)
    assert made.code == code, made.err + made.out


def _file(cli: CommandLine, document: dict[str, Any]) -> Path:
    return cli.write("lighthouse.json", json.dumps(document).encode())
