"""`doctor`: looks at everything a run needs, and names a cure for each thing that is wrong.

Belongs here: the order of the checks, and those that belong to no room below. Does not belong here:
the checks of providers, database and storage, which live beside what they check.
"""

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from typing import Any

from scene_pipeline.cli.dagster_home import (
    INSTANCE_FILE,
    dagster_home,
    is_own_home,
    shipped_file,
)
from scene_pipeline.cli.terminal import Terminal, plain, shown_path
from scene_pipeline.cli.up_record import read_running
from scene_pipeline.cli.wording import marks, plural
from scene_pipeline.database.diagnosis import diagnose_database
from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.findings import Finding
from scene_pipeline.pipeline.inbox.setting import diagnose_inbox
from scene_pipeline.pipeline.planning.preview import check_settings
from scene_pipeline.providers.diagnosis import diagnose_providers, hosts_in_words
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.diagnosis import diagnose_storage
from scene_pipeline.storage.opening import opened_store

_PACKAGES = (
    "scene-pipeline",
    "dagster",
    "dagster-postgres",
    "dagster-aws",
    "fal-client",
    "httpx",
    "psycopg",
    "sqlalchemy",
    "pillow",
    "pandas",
    "boto3",
)


def examine(terminal: Terminal, *, alert_test: bool = False) -> int:
    """Check everything; returns the exit code, 1 where something is wrong.

    Args:
        terminal: Where the findings are shown.
        alert_test: Whether a test message is sent to the webhook of alerts.
    """
    findings = list(_findings(alert_test))
    wrong = sum(not finding.is_ok for finding in findings)
    if terminal.is_json:
        terminal.document(
            {"is_ok": not wrong, "findings": [_finding_json(finding) for finding in findings]}
        )
    else:
        show_findings(terminal, findings)
    return 1 if wrong else 0


def _findings(alert_test: bool) -> Iterator[Finding]:
    yield _versions()
    try:
        settings = load_settings()
        check_settings(settings)
    except ScenePipelineError as error:
        yield _failed("settings", error)
        return
    yield from diagnose_providers(settings)
    yield _way_out(settings)
    yield _alerts(settings, alert_test)
    yield from diagnose_database(settings)
    yield _instance(settings)
    try:
        with opened_store(settings) as store:
            yield from diagnose_storage(store, settings)
    except ScenePipelineError as error:
        yield _failed("storage", error)
    inbox = diagnose_inbox(settings)
    if inbox is not None:
        yield inbox
    yield _up(settings)


def _versions() -> Finding:
    found = [f"Python {platform.python_version()}"]
    missing = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "versions",
            is_ok=False,
            detail=f"Not installed: {', '.join(missing)}.",
            cure="Install Scene Pipeline again with its locked dependencies.",
        )
    return Finding("versions", is_ok=True, detail=f"{', '.join(found)}.")


def _way_out(settings: Settings) -> Finding:
    try:
        tls_context(settings.ssl_cert_file)
    except ScenePipelineError as error:
        return _failed("way out", error)
    proxy = "through SCENE_PIPELINE_EGRESS_PROXY" if settings.egress_proxy else "directly"
    trust = " and SSL_CERT_FILE" if settings.ssl_cert_file else ""
    return Finding(
        "way out",
        is_ok=True,
        detail=f"Requests go out {proxy}, trusting certifi's roots{trust};"
        f" {hosts_in_words(settings)}.",
    )


def _alerts(settings: Settings, is_tried: bool) -> Finding:
    from scene_pipeline.pipeline.alerts.text import TEST_MESSAGE  # noqa: PLC0415  # where used
    from scene_pipeline.pipeline.alerts.webhook import open_webhook  # noqa: PLC0415

    try:
        webhook = open_webhook(settings)
    except ScenePipelineError as error:
        return _failed("alerts", error)
    if webhook is None:
        return Finding(
            "alerts",
            is_ok=not is_tried,
            detail="No webhook is set: what goes wrong is told in the log alone.",
            cure="Set SCENE_PIPELINE_ALERT_WEBHOOK_URL to be told elsewhere.",
        )
    result = webhook.post(TEST_MESSAGE) if is_tried else None
    webhook.close()
    if result is None:
        remark = "; --alert-test sends a message there"
    elif result.verdict == "delivered":
        remark = ", and a test message was taken there"
    else:
        return Finding(
            "alerts",
            is_ok=False,
            detail=f"A test message did not get to {webhook.host}: {result.reason}",
            cure="Correct SCENE_PIPELINE_ALERT_WEBHOOK_URL, or see why it is not taken there.",
        )
    return Finding(
        "alerts", is_ok=True, detail=f"What goes wrong is told to {webhook.host}{remark}."
    )


def _instance(settings: Settings) -> Finding:
    home = dagster_home(settings)
    place = home / INSTANCE_FILE
    if is_own_home():
        is_written = place.is_file()
        is_same = is_written and place.read_bytes() == shipped_file(INSTANCE_FILE).read_bytes()
        remark = "" if is_same else "; the next `run` or `up` writes it"
        return Finding("Dagster's home", is_ok=True, detail=f"{shown_path(place)}{remark}.")
    if not place.is_file():
        return Finding(
            "Dagster's home",
            is_ok=False,
            detail=f"DAGSTER_HOME is {home}, which has no {INSTANCE_FILE}: Dagster would keep its "
            "history in SQLite files.",
            cure=f"Copy {shown_path(shipped_file(INSTANCE_FILE))} there, or unset DAGSTER_HOME.",
        )
    text = place.read_text(encoding="utf-8", errors="replace")
    if "postgresql://" in text or "postgres://" in text:
        return Finding(
            "Dagster's home",
            is_ok=False,
            detail=f"{place} names a URL that begins with postgresql://, which Dagster cannot use "
            "with SQLAlchemy 2.1, and which every user of the machine can read.",
            cure="Write `postgres_url: {env: DAGSTER_DATABASE_URL}` there.",
        )
    return Finding("Dagster's home", is_ok=True, detail=f"{place}, given by DAGSTER_HOME.")


def _up(settings: Settings) -> Finding:
    running = read_running(settings)
    if running is None:
        return Finding("up", is_ok=True, detail="Nothing is up now.")
    words = "is up" if running.is_ready else "is starting"
    return Finding("up", is_ok=True, detail=f"Dagster {words} at {running.dagster_url}.")


def _failed(name: str, error: ScenePipelineError) -> Finding:
    return Finding(name, is_ok=False, detail=error.message, cure=error.next_action)


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "is_ok": finding.is_ok,
        "detail": finding.detail,
        "cure": finding.cure,
    }


def show_findings(terminal: Terminal, findings: Sequence[Finding]) -> None:
    """Write every finding with its cure, and how many are wrong."""
    wrong = sum(not finding.is_ok for finding in findings)
    symbols = marks(terminal.console.encoding)
    for finding in findings:
        mark, style = ("generated", "green") if finding.is_ok else ("failed", "red")
        _show_finding(terminal, finding, symbols[mark], style)
    terminal.say()
    if wrong:
        terminal.say(f"{plural(wrong, 'thing')} to put right.", style="bold red")
    else:
        terminal.say("Everything is as it should be.", style="bold")


def _show_finding(terminal: Terminal, finding: Finding, mark: str, style: str) -> None:
    from rich.padding import Padding  # noqa: PLC0415  # where used
    from rich.text import Text  # noqa: PLC0415

    terminal.console.print(Text.assemble((mark, style), f" {finding.name}"))
    detail = Text(plain(finding.detail), style="dim" if finding.is_ok else "")
    lines = [plain(line) for line in (finding.cure or "").splitlines()]
    if not terminal.is_live:  # padding would fill the lines of a policy with spaces
        for line in (plain(finding.detail), *lines):
            terminal.say(f"    {line}")
        return
    cure = Text("\n".join(lines), style="" if finding.is_ok else "yellow")
    for text in (detail, *([cure] if lines else [])):
        terminal.console.print(Padding(text, (0, 0, 0, 4), expand=False))
