"""The persistent instance that every door shares.

Belongs here: opening it, and putting it in order before something is started on it. Does not belong
here: where its configuration lies (`cli.dagster_home`); Dagster finds it by DAGSTER_HOME.

As a program, `python -m scene_pipeline.defs.instance`, it makes the tables where they are missing
and ends runs whose process is gone: for `up`, which does not import Dagster itself.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from scene_pipeline.defs.dead_runs import end_dead_runs
from scene_pipeline.errors import ConfigurationError


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """Open the instance of DAGSTER_HOME; its tables are made where they are missing.

    Raises:
        ConfigurationError: Its dagster.yaml cannot be used.
    """
    try:
        instance = dg.DagsterInstance.get()
    except dg.DagsterError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigurationError(
            f"Dagster's instance cannot be opened: {reason}.",
            code="dagster_instance_invalid",
            next_action="Correct the dagster.yaml in DAGSTER_HOME, or unset DAGSTER_HOME.",
        ) from error
    with instance:
        yield instance


def main() -> int:
    """Put the instance in order; returns the exit code."""
    with open_instance() as instance:
        ended = end_dead_runs(instance)
    if ended:
        sys.stdout.write(f"Ended {len(ended)} runs whose process is gone: {', '.join(ended)}.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
