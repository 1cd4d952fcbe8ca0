"""The log and the telemetry of a command, as whoever starts it sees them."""

import json

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.otlp_receiver import otlp_receiver


def test_a_run_logs_to_standard_error_and_traces_under_dagsters_run_id(cli: CommandLine) -> None:
    document = cli.write("logged.json", film(["A lighthouse", "A calm sea"], key="logged"))

    with otlp_receiver() as receiver:
        done = cli.run(
            document,
            SCENE_PIPELINE_LOG_LEVEL="info",
            SCENE_PIPELINE_LOG_FORMAT="json",
            SCENE_PIPELINE_TELEMETRY="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        )

    assert done.code == 0, done.err
    run_id = done.document["run_id"]
    lines = [json.loads(line) for line in done.err.splitlines()]
    ends = [line for line in lines if line["message"] == "scene generated"]
    assert sorted(line["scene"] for line in ends) == ["scene_1", "scene_2"]
    assert {(line["project"], line["run"]) for line in ends} == {("logged", run_id)}
    assert {span.trace_id for span in receiver.spans} == {run_id.replace("-", "")}
    assert [len(receiver.named(name)) for name in ("run", "scene", "publish")] == [1, 2, 2]
    assert receiver.latest("scene_pipeline.frames")
