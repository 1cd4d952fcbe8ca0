"""Ctrl-C when everything is made and paid: what is advised then must not buy it again."""

import re
import shlex
import signal
import socket

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film

GO_ON = re.compile(r"Go on with: \S*scene-pipeline (.*)$", re.MULTILINE)


def test_after_the_last_outcome_no_second_payment_is_advised(cli: CommandLine) -> None:
    path = cli.write("held.json", film(["A lighthouse"], key="held"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(90)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with cli.start(
            "run", path, "--regenerate", "--max-cost", "1", SCENE_PIPELINE_PUBLIC_URL=address
        ) as process:
            asking, _ = silent.accept()  # the check of the URL, which follows the outcome
            with asking:
                process.send_signal(signal.SIGINT)
                silent.close()
            _, told = process.communicate(timeout=60)

    [advised] = GO_ON.findall(told)
    planned = cli(*shlex.split(advised), "--dry-run", "--json")

    assert process.returncode == 130
    assert advised == "run held --max-cost 1"
    assert planned.document["totals"]["to_generate"] == 0
    assert planned.scenes["scene_1"]["action"] == "keep"
