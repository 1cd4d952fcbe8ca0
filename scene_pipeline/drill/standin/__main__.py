"""The stand-in as a program of its own, which runs until SIGTERM or SIGINT."""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from scene_pipeline.drill.standin.server import FalStandIn


def main() -> None:
    """Run as a program until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m scene_pipeline.drill.standin")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--queue-seconds", type=float, default=0.02)
    parser.add_argument("--run-seconds", type=float, default=0.03)
    parser.add_argument("--fault", action="append", default=[], help="strikes once; repeatable")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    standin = FalStandIn(
        options.directory.absolute(),
        port=options.port,
        queue_seconds=options.queue_seconds,
        run_seconds=options.run_seconds,
    )
    for fault in options.fault:
        standin.faults.add(fault)
    with standin:
        described = json.dumps(
            {
                "proxy_url": standin.proxy_url,
                "ca_file": str(standin.ca_file),
                "fal_key": standin.key,
                "meter_file": str(standin.meter_file),
                "pid": os.getpid(),
                "environment": standin.environment,
            }
        )
        unfinished = options.directory / "standin.json.part"
        unfinished.write_text(described, encoding="utf-8")
        unfinished.replace(options.directory / "standin.json")
        sys.stdout.write(f"{described}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
