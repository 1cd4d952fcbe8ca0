"""Takes each guard out, one at a time, and sees that the test named for it fails.

A guard whose test passes without it is not tested. The patches go into a copy of the package, and
one that no longer fits the source fails here, so that the table cannot go stale.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("scene_pipeline", "scene_pipeline_tests", "pyproject.toml", "dagster.yaml",
          "workspace.yaml", "examples")  # fmt: skip
SECONDS_PER_RUN = 240

GUARDS = "integration/test_guards.py"
SCHEMA = "database/migrations/versions/0001_ledger.sql"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One guard taken out."""

    guard: str
    file: str
    patches: tuple[tuple[str, str], ...]
    """Text that stands exactly once in the file, and what takes its place."""
    tests: tuple[str, ...]
    """Each must fail without the guard."""


MUTATIONS = (
    Mutation(
        "partial unique index",
        SCHEMA,
        (
            (
                "CREATE UNIQUE INDEX scene_images_one_current",
                "CREATE INDEX scene_images_one_current",
            ),
        ),
        (
            f"{GUARDS}::test_the_database_itself_refuses_a_second_current_version",
            f"{GUARDS}::test_of_recorders_that_know_nothing_of_each_other_one_wins",
        ),
    ),
    Mutation(
        "unique generation",
        SCHEMA,
        (("    UNIQUE (generation_id, image_index),\n", ""),),
        (f"{GUARDS}::test_the_database_itself_refuses_a_second_version_of_one_generation",),
    ),
    Mutation(
        "expected state of recording",
        "database/recording.py",
        (("WHERE id = %s AND state = 'stored' FOR UPDATE", "WHERE id = %s FOR UPDATE"),),
        (f"{GUARDS}::test_a_generation_is_recorded_once_by_many_recorders",),
    ),
    Mutation(
        "prompt guard",
        "database/publishing.py",
        (("WHEN t.guard = 'prompt' AND", "WHEN false AND"),),
        (
            f"{GUARDS}::test_a_frame_is_not_written_into_a_scene_that_was_edited_since"
            "_it_was_recorded",
        ),
    ),
    Mutation(
        "advisory lock",
        "database/locks.py",
        (
            (
                "SELECT pg_try_advisory_lock(hashtextextended('generation:' || %s, 0))",
                "SELECT %s IS NOT NULL",
            ),
            ("        if not held:", "        if False:"),
            (
                "SELECT pg_advisory_unlock(hashtextextended('generation:' || %s, 0))",
                "SELECT %s IS NOT NULL",
            ),
        ),
        (f"{GUARDS}::test_workers_on_one_generation_pay_once_however_slow_the_service[2]",),
    ),
    Mutation(
        "ambiguous-submit guard",
        "providers/fal_submit.py",
        (
            (
                "        if self.is_spent:\n"
                '            raise ambiguous_submit(endpoint, "a repetition had to be held back")\n'
                "        self._calls.sends_left = 0\n",
                "        if endpoint:\n            return self._inner.handle_request(request)\n",
            ),
        ),
        tuple(
            "contract/test_providers_fal_submit.py::test_a_lost_answer_is_ambiguous_and_was_paid"
            f"_once[{fault}]"
            for fault in ("drop_after_accept", "status_409")
        ),
    ),
    Mutation(
        "address check",
        "media/network.py",
        (
            (
                "        if not all(_is_within(reach, address) for address in addresses):",
                "        if False:",
            ),
        ),
        (
            "contract/test_media_fetch.py::test_one_bad_address_refuses_the_host_and_nothing_is"
            "_dialled[addresses0]",
            "contract/test_media_fetch.py::test_a_redirect_to_a_name_with_a_private_address_is"
            "_refused",
        ),
    ),
    Mutation(
        "create-only put to files",
        "storage/files.py",
        (
            (
                "        os.link(unfinished, target, follow_symlinks=False)",
                "        os.link(unfinished, f'{unfinished}2')\n"
                "        os.replace(f'{unfinished}2', target)",
            ),
        ),
        (
            "contract/test_storage.py::test_other_bytes_under_the_same_key_are_refused_and_the"
            "_first_stay[local]",
        ),
    ),
    Mutation(
        "create-only put to S3",
        "storage/s3_sending.py",
        (('return {"IfNoneMatch": "*"} if is_conditional else {}', "return {}"),),
        (
            "contract/test_storage_s3_faults.py::test_a_put_carries_digest_type_and_cache_header_and"
            "_no_acl",
            "contract/test_storage_s3_faults.py::test_nothing_is_overwritten_whatever_the_server"
            "_makes_of_create_only[honours-honoured]",
        ),
    ),
)


@pytest.fixture(scope="module")
def copy_of_the_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its tests, away from the checkout."""
    directory = tmp_path_factory.mktemp("mutated")
    directory.chmod(0o755)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, directory / name)
    return directory


def outcomes(directory: Path, tests: Sequence[str]) -> dict[str, str]:
    """What became of each test, run in a process of its own on the copy."""
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-q", "--no-header", "--tb=no",
         "-p", "no:cacheprovider", "-o", "addopts=",
         *(f"scene_pipeline_tests/{test}" for test in tests)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS_PER_RUN,
        check=False,
    )  # fmt: skip
    told = re.findall(
        r"^(PASSED|FAILED|ERROR|SKIPPED) scene_pipeline_tests/(\S+)", answer.stdout, re.MULTILINE
    )
    found = {test: word for word, test in told}
    assert set(found) >= set(tests), answer.stdout[-3000:] + answer.stderr[-3000:]
    return found


@pytest.mark.long
def test_the_named_tests_pass_while_every_guard_is_in_place(copy_of_the_project: Path) -> None:
    tests = list(dict.fromkeys(test for mutation in MUTATIONS for test in mutation.tests))

    assert outcomes(copy_of_the_project, tests) == dict.fromkeys(tests, "PASSED")


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_without_a_guard_its_test_fails(mutation: Mutation, copy_of_the_project: Path) -> None:
    file = copy_of_the_project / "scene_pipeline" / mutation.file
    original = file.read_text("utf-8")
    try:
        file.write_text(mutated(original, mutation), "utf-8")
        found = outcomes(copy_of_the_project, mutation.tests)
    finally:
        file.write_text(original, "utf-8")

    assert found == dict.fromkeys(mutation.tests, "FAILED")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_every_patch_still_fits_the_source(mutation: Mutation) -> None:
    source = (ROOT / "scene_pipeline" / mutation.file).read_text("utf-8")

    assert mutated(source, mutation) != source
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.split('[')[0]}(" in (ROOT / "scene_pipeline_tests" / file).read_text()


def mutated(source: str, mutation: Mutation) -> str:
    """The source without the guard."""
    for old, new in mutation.patches:
        assert source.count(old) == 1, f"{mutation.guard}: the patch of {mutation.file} is stale"
        source = source.replace(old, new)
    return source
