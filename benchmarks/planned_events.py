"""Creating a run of many scenes: Dagster's own storage against ours, which keeps its connection.

Prints the ratio (own / kept) of each round. Every round creates a run of 100 scenes both ways, in
turn, on the same database, as the daemon does when a sensor asks for it.
"""

import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from scene_pipeline.database import embedded
from scene_pipeline.database.urls import dagster_url
from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.instance import open_instance
from scene_pipeline.defs.partitions import range_tags, register_partitions
from scene_pipeline.scenes.identity import partition_key

SCENES = 100
ROUNDS = 3
KEPT = (Path(__file__).parents[1] / "dagster.yaml").read_text()
OWN = re.sub(
    r"^storage:\n(?: .*\n)+",
    "storage:\n  postgres:\n    postgres_url:\n      env: DAGSTER_DATABASE_URL\n",
    KEPT,
    flags=re.MULTILINE,
)


def seconds(configuration: str) -> float:
    """Create a run on an instance with this dagster.yaml."""
    job = build_definitions().resolve_job_def("frames")
    keys = [partition_key("film", f"scene_{number}") for number in range(SCENES)]
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "dagster.yaml").write_text(configuration)
        os.environ["DAGSTER_HOME"] = home
        with open_instance() as instance:
            register_partitions(instance, "film", keys)
            start = time.perf_counter()
            instance.create_run_for_job(job, tags=range_tags(keys[0], keys[-1]))
            return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    if OWN == KEPT:
        message = "dagster.yaml names no storage of ours to compare"
        raise RuntimeError(message)
    ratios = [seconds(OWN) / seconds(KEPT) for _ in range(ROUNDS)]
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    sys.stdout.write(
        f"{SCENES} scenes: a run is created {statistics.median(ratios):.1f} times faster with a"
        f" connection that is kept ({spread} over {ROUNDS} rounds)\n"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o711)  # PostgreSQL, which never runs as root, must be able to pass
        with embedded.attach(place) as server:
            os.environ["DAGSTER_DATABASE_URL"] = dagster_url(server.url("dagster"))
            main()
        while embedded.is_running(place):  # it stops a moment after its last user
            time.sleep(0.1)
