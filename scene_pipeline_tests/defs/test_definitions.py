"""The assembled code location, in a fresh interpreter as Dagster loads it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import yaml  # type: ignore[import-untyped]  # Dagster's dependency, without stubs here

from scene_pipeline.definitions import build_definitions

ROOT = Path(__file__).parents[2]


def load_in_fresh_interpreter(
    code: str, directory: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_definitions_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(build_definitions())


def test_loading_needs_no_environment_and_opens_no_connection(tmp_path: Path) -> None:
    code = """
import sys
def refuse(event, arguments):
    if event == "socket.connect":
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(refuse)
import scene_pipeline.definitions
heavy = {"pandas", "boto3", "fal_client", "PIL", "dagster_aws", "psycopg"} & set(sys.modules)
assert not heavy, heavy
"""
    loaded = load_in_fresh_interpreter(code, tmp_path)

    assert loaded.returncode == 0, loaded.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bad_variable_does_not_take_the_code_location_away(tmp_path: Path) -> None:
    loaded = load_in_fresh_interpreter(
        "import scene_pipeline.definitions", tmp_path, SCENE_PIPELINE_SCENES_PER_RUN="many"
    )

    assert loaded.returncode == 0, loaded.stderr


def test_the_size_of_a_backfills_runs_is_a_setting(tmp_path: Path) -> None:
    code = (
        "from scene_pipeline.definitions import defs;"
        "print(defs.resolve_assets_def('scene_image').backfill_policy.max_partitions_per_run)"
    )
    loaded = load_in_fresh_interpreter(code, tmp_path, SCENE_PIPELINE_SCENES_PER_RUN="7")

    assert loaded.stdout.strip() == "7", loaded.stderr


def test_the_code_location_has_one_name_everywhere() -> None:
    """`[tool.dg]` silently wins over workspace.yaml: two names would split the history."""
    [entry] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]

    assert entry["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_the_instance_file_names_no_password_and_is_quiet() -> None:
    instance = yaml.safe_load((ROOT / "dagster.yaml").read_text())

    assert instance["storage"]["custom"]["config"] == {
        "postgres_url": {"env": "DAGSTER_DATABASE_URL"}
    }
    assert instance["telemetry"] == {"enabled": False}
    assert instance["nux"] == {"enabled": False}
    assert instance["run_retries"]["retry_on_asset_or_op_failure"] is False


def test_jobs_keep_to_one_axis_each() -> None:
    definitions = build_definitions()

    frames = definitions.resolve_job_def("frames")
    storyboards = definitions.resolve_job_def("storyboards")

    assert frames.partitions_def == dg.DynamicPartitionsDefinition(name="scenes")
    assert storyboards.partitions_def == dg.DynamicPartitionsDefinition(name="projects")
