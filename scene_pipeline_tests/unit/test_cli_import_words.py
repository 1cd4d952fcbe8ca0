"""What is said of imports: the same form as of files, and always what to do next."""

from uuid import uuid4

import pytest

from scene_pipeline.cli.import_progress import tell_import
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.pipeline.library.import_events import ImportOutcome, ImportStatus
from scene_pipeline.pipeline.orders import Failure

SOURCE = "https://files.example.com/hero.png"
DOWN = Failure(code="http_status_503", message="It is down.", next_action="Wait for it.")


@pytest.mark.parametrize(
    ("status", "failure", "line"),
    [
        ("failed", DOWN, "failed: [http_status_503] It is down. Wait for it."),
        (
            "waiting",
            DOWN,
            "waiting: [http_status_503] It is down. Wait for it. `up` tries again by itself.",
        ),
        ("busy", None, "another run is importing it, or has"),
        ("new", None, "ast_1 (image/png, 2.0 KiB)"),
        ("duplicate", None, "there already as ast_1 (image/png, 2.0 KiB)"),
    ],
)
def test_every_end_has_a_line_with_its_mark(
    capsys: pytest.CaptureFixture[str], status: ImportStatus, failure: Failure | None, line: str
) -> None:
    outcome = ImportOutcome(
        uuid4(), SOURCE, "image", status, "ast_1", None, "image/png", 2048, failure=failure
    )

    tell_import(Terminal(), outcome)

    mark, source, words = capsys.readouterr().out.rstrip("\n").split(" ", 2)
    assert (len(mark), source, words.strip()) == (1, SOURCE, line)
