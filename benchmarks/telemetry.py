"""What traces, metrics and the log cost: a run of 100 scenes with them against one without.

Prints the ratio (with / without) of processor time. Pictures come from the scripted service of the
tests, so that nothing waits for a provider; the collector is a server in this process, whose own
work therefore counts as well. Then what one stage costs while everything is off.
"""

import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scene_pipeline.database import embedded
from scene_pipeline.database.migrations import migrate
from scene_pipeline.telemetry import export
from scene_pipeline.telemetry.logs import set_up, tear_down
from scene_pipeline.telemetry.stages import stage
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.otlp_receiver import OtlpReceiver, otlp_receiver
from scene_pipeline_tests.standins.scripted_provider import scripted_provider

SCENES = 100
ROUNDS = 5
STAGES = 100_000


def processor_seconds(studio: Studio, token: str) -> float:
    """Processor time of this process for a new version of every scene."""
    began = time.process_time()
    run = studio.run(mode="regenerate", token=token)
    if set(run.statuses.values()) != {"generated"}:
        message = f"not everything was made: {run.statuses}"
        raise RuntimeError(message)
    return time.process_time() - began


def with_telemetry(studio: Studio, receiver: OtlpReceiver, token: str) -> float:
    """The same, with everything on."""
    export.start(receiver.settings())
    set_up(studio.settings.model_copy(update={"log_level": "info"}), io.StringIO())
    try:
        return processor_seconds(studio, token)
    finally:
        export.stop()
        tear_down()


def microseconds_of_a_stage() -> float:
    """One stage while telemetry is off and the log is quiet."""
    began = time.perf_counter()
    for _ in range(STAGES):
        with stage("submit", provider="fal", model="flux"):
            pass
    return (time.perf_counter() - began) / STAGES * 1_000_000


def main(url: str, home: Path) -> None:
    """Measure and print."""
    many: dict[str, Any] = {"project_cap_usd": 100_000, "day_cap_usd": 100_000}
    with scripted_provider() as provider, otlp_receiver() as receiver:
        studio = Studio(provider.settings(home, **many), url, {"fal": provider}, hurries=True)
        studio.bring(film([f"Scene {number}" for number in range(SCENES)]))
        studio.run()
        ratios = []
        for number in range(ROUNDS):
            off = processor_seconds(studio, f"off {number}")
            ratios.append(with_telemetry(studio, receiver, f"on {number}") / off)
        spans = len(receiver.spans) // ROUNDS
    told = {
        "ratio": round(statistics.median(ratios), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
        "spans_of_a_run": spans,
        "microseconds_of_a_stage_while_off": round(microseconds_of_a_stage(), 2),
    }
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o711)  # PostgreSQL, which never runs as root, must be able to pass
        with embedded.attach(place) as server:
            migrate(server.url("scene_pipeline"))
            main(server.url("scene_pipeline"), place / "home")
        while embedded.is_running(place):  # it stops a moment after its last user
            time.sleep(0.1)
