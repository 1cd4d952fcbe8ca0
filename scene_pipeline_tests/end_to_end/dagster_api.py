"""Dagster's GraphQL as its UI uses it, on the servers that `up` starts."""

import json
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Any

from scene_pipeline_tests.end_to_end.command_line import CommandLine

ASSETS = ["scene_prompt", "generated_frame", "scene_image", "scene_start_frame"]
TIMEOUT_SECONDS = 30.0
LAUNCH_BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
EXECUTE_AGAIN = """
mutation Again($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on PythonError { message }
  }
}
"""
ADD_PARTITION = """
mutation Add($repository: RepositorySelector!, $key: String!) {
  addDynamicPartition(
    repositorySelector: $repository, partitionsDefName: "scenes", partitionKey: $key
  ) { __typename }
}
"""
AUTOMATION = """
query Automation($repository: RepositorySelector!) {
  sensorsOrError(repositorySelector: $repository) {
    ... on Sensors { results {
      name description sensorState { status ticks(limit: 20) { status error { message } } }
    } }
  }
  schedulesOrError(repositorySelector: $repository) {
    ... on Schedules { results { name description scheduleState { status } } }
  }
}
"""
TRY_SCHEDULE = """
mutation Try($schedule: ScheduleSelector!, $timestamp: Float!) {
  scheduleDryRun(selectorData: $schedule, timestamp: $timestamp) {
    __typename
    ... on DryRunInstigationTick {
      evaluationResult { skipReason error { message } runRequests { runKey } }
    }
    ... on PythonError { message }
  }
}
"""
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "scene_pipeline"}


def query(cli: CommandLine, text: str, **variables: object) -> dict[str, Any]:
    """What Dagster's webserver answers to a query or mutation."""
    port = int(cli.variables["SCENE_PIPELINE_DAGSTER_PORT"])
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        body = json.dumps({"query": text, "variables": variables})
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert not answer.get("errors"), answer["errors"]
    data: dict[str, Any] = answer["data"]
    return data


def launch_backfill(cli: CommandLine, partition_keys: Sequence[str]) -> str:
    """Ask for a new version of these scenes, as the UI does; return the backfill's id."""
    params = {
        "assetSelection": [{"path": [asset]} for asset in ASSETS],
        "partitionNames": list(partition_keys),
    }
    answer = query(cli, LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    backfill_id: str = answer["backfillId"]
    return backfill_id


def backfill_status(cli: CommandLine, backfill_id: str) -> str:
    """Dagster's word for how a backfill stands, such as "CANCELED"."""
    status: str = _backfill(cli, backfill_id, "status")["status"]
    return status


def backfill_keys(cli: CommandLine, backfill_id: str) -> set[str]:
    """The partition keys that a backfill was asked for."""
    answer = _backfill(
        cli, backfill_id, "assetBackfillData { rootTargetedPartitions { partitionKeys } }"
    )
    return set(answer["assetBackfillData"]["rootTargetedPartitions"]["partitionKeys"])


def backfill_runs(cli: CommandLine, backfill_id: str) -> list[str]:
    """Ids of the runs of a backfill, the newest first."""
    return [run["id"] for run in _backfill(cli, backfill_id, "runs(limit: 100) { id }")["runs"]]


def run_status(cli: CommandLine, run_id: str) -> str:
    """Dagster's word for how a run stands, such as "SUCCESS"."""
    text = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    status: str = query(cli, text, id=run_id)["runOrError"]["status"]
    return status


def execute_run_again(cli: CommandLine, run_id: str) -> str:
    """Execute all of a run again, as "Re-execute" does; return the new run's id."""
    params = {"parentRunId": run_id, "strategy": "ALL_STEPS"}
    answer = query(cli, EXECUTE_AGAIN, params=params)["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    new_run_id: str = answer["run"]["id"]
    return new_run_id


def add_partition(cli: CommandLine, partition_key: str) -> None:
    """Add a scene's partition key, as "Add a partition" does."""
    answer = query(cli, ADD_PARTITION, repository=REPOSITORY, key=partition_key)
    added = answer["addDynamicPartition"]
    assert added["__typename"] == "AddDynamicPartitionSuccess", added


def automation(cli: CommandLine) -> dict[str, list[dict[str, Any]]]:
    """All sensors and schedules, with what the UI tells of them."""
    answer = query(cli, AUTOMATION, repository=REPOSITORY)
    return {kind: answer[f"{kind}OrError"]["results"] for kind in ("sensors", "schedules")}


def try_schedule(cli: CommandLine, name: str) -> dict[str, Any]:
    """What a schedule would do now; nothing is launched."""
    answer = query(
        cli, TRY_SCHEDULE, schedule={**REPOSITORY, "scheduleName": name}, timestamp=time.time()
    )["scheduleDryRun"]
    assert answer["__typename"] == "DryRunInstigationTick", answer
    result: dict[str, Any] = answer["evaluationResult"]
    return result


def _backfill(cli: CommandLine, backfill_id: str, fields: str) -> dict[str, Any]:
    text = (
        "query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {"
        f" __typename ... on PartitionBackfill {{ {fields} }} }} }}"
    )
    answer: dict[str, Any] = query(cli, text, id=backfill_id)["partitionBackfillOrError"]
    assert answer["__typename"] == "PartitionBackfill", answer
    return answer
