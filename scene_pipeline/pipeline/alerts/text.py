"""What an alert says, in a form that Slack and those who took over its webhooks understand.

Belongs here: words, their order and their bounds. Does not belong here: where they go.

Messages come from providers and documents, so that nothing in them is trusted: Slack's three
control characters are escaped (a bare `<!channel>` would wake everybody), invisible characters and
line ends are taken out, and of addresses neither user name nor query is shown.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scene_pipeline.database.alerts import AlertRow

NAMED_SCENES = 10
"""More scenes than these are counted, and the first of them named."""
NAMED_CAUSES = 10
_NAMED_RUNS = 3
_NAME_CHARACTERS = 80
_SENTENCE_CHARACTERS = 600
# A next action holds a project's key and a scene's id, which may be long, and is never cut: a
# command without its end is none.
_ACTION_CHARACTERS = 1200
# Slack takes 3000 characters in a section, escaped, and cuts a text at 40,000.
_SECTION_CHARACTERS = 2900
_TEXT_CHARACTERS = 8000
# Of a text, for its title and its last lines.
_ENDS_CHARACTERS = 1000

_TITLES = {
    "budget_exhausted": "Held back by a cap",
    "price_unknown": "Held back, price unknown",
    "submit_ambiguous": "Payment in doubt",
    "run_failed": "Run failed",
}
_LEFT_OUT = " [...] "
_REFUSED_FOR_SAFETY = re.compile(
    r"blocked_|redirect_|(invalid_url|not_image|bomb|animated|too_large|content_encoding)$"
)
_USER_NAME = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#@]*@", re.IGNORECASE)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#]*)[?#]\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message about alerts of one project and code; cleaned and bounded, without markup."""

    title: str
    lines: tuple[str, ...]
    """What happened, to which scenes, and what to do."""
    alert_ids: tuple[int, ...] = ()

    @property
    def plain(self) -> str:
        """Everything in one line, for a log."""
        return " | ".join((self.title, *self.lines))

    def payload(self) -> dict[str, Any]:
        """The body of a post: Slack's `text` and `blocks`, and our own `alert_ids`.

        An alert may arrive twice, where a worker died between the post and its note of it; the ids
        are always the same.
        """
        title = _escaped(self.title)
        lines = [_escaped(line) for line in self.lines]
        return {
            "text": _cut("\n".join((title, *lines)), _TEXT_CHARACTERS),
            "blocks": [
                {
                    "type": "section",
                    "text": {"type": "mrkdwn", "text": _cut(text, _SECTION_CHARACTERS)},
                }
                for text in (f"*{title}*", *lines)
            ],
            "alert_ids": list(self.alert_ids),
        }


TEST_MESSAGE = Message("Test", ("Alerts of Scene Pipeline arrive here.",))
"""What `doctor --alert-test` sends."""


def compose(alerts: Sequence[AlertRow]) -> Message:
    """Put alerts of one project and code into words; bounded, however many there are.

    Args:
        alerts: At least one. Those that say the same share a line.
    """
    first = alerts[0]
    causes: dict[tuple[str, str], list[AlertRow]] = {}
    for alert in alerts:
        causes.setdefault((alert.message, alert.next_action), []).append(alert)
    lines: list[str] = []
    room = _TEXT_CHARACTERS - _ENDS_CHARACTERS
    for told in list(causes.values())[:NAMED_CAUSES]:
        line = _line(told)
        room -= len(_escaped(line))
        if lines and room < 0:
            break
        lines.append(line)
    rest = sum(len(told) for told in list(causes.values())[len(lines) :])
    if rest:
        lines.append(f"And {rest} more; `scene-pipeline status` shows all.")
    runs = dict.fromkeys(_name(alert.run_id) for alert in alerts if alert.run_id is not None)
    if runs:
        lines.append(f"Dagster's run: {_listed(list(runs), _NAMED_RUNS)}")
    return Message(_title(first, alerts), tuple(lines), tuple(alert.id for alert in alerts))


def clean(text: str, longest: int = _SENTENCE_CHARACTERS) -> str:
    """One bounded line of visible characters, without what addresses may keep secret."""
    return _cut(_visible(text), longest)


def shortened(text: str, longest: int = _SENTENCE_CHARACTERS) -> str:
    """A message that is bounded by leaving out its middle, on one line, without secrets as `clean`.

    What addresses may keep secret goes first: an end of one would not be known for what it is.
    It begins with its code, and where it is all that is told it ends with what to do: what it lists
    between them, and can do without, gives way.

    Args:
        text: A message, or the whole words of an error.
        longest: Characters at most.
    """
    line = _visible(text)
    if len(line) <= longest:
        return line
    room = longest - len(_LEFT_OUT)
    end = line[-(room // 2) :]
    # From the begin of a sentence on, where one begins in time.
    begins = re.search(r"(?<=[.!?:] )\S", end)
    end = end[begins.start() :] if begins else end.partition(" ")[2] or end
    return f"{line[: room - len(end)].rstrip()}{_LEFT_OUT}{end}"


def _visible(text: str) -> str:
    visible = "".join(" " if _is_invisible(char) else char for char in text)
    return _QUERY.sub(r"\1?...", _USER_NAME.sub(r"\1", " ".join(visible.split())))


def _title(first: AlertRow, alerts: Sequence[AlertRow]) -> str:
    title = _TITLES.get(first.code)
    if title is None:
        is_refusal = _REFUSED_FOR_SAFETY.match(first.code) is not None
        title = "Refused for safety" if is_refusal else "Failed"
    scenes = {alert.scene_id for alert in alerts if alert.scene_id is not None}
    about = f": {_name(first.project_key)}" if first.project_key else ""
    count = f", {len(scenes)} scenes" if len(scenes) > 1 else ""
    return f"{title}{about}{count} [{_name(first.code)}]"


def _line(alerts: Sequence[AlertRow]) -> str:
    """What happened to one scene, or in the same way to several; fits a section whole.

    What there is too much of is taken from the message, never from what to do about it.
    """
    scenes = dict.fromkeys(_name(alert.scene_id) for alert in alerts if alert.scene_id is not None)
    action = clean(alerts[0].next_action, _ACTION_CHARACTERS)
    then = f" Next: {action}" if action else ""
    words = shortened(alerts[0].message)
    # Less and less of the list and of the message, as long as it takes.
    for named, longest in ((NAMED_SCENES, _SENTENCE_CHARACTERS), (3, 300), (1, 150)):
        about = f"{_listed(list(scenes), named)}: " if scenes else ""
        line = f"{about}{shortened(words, longest)}{then}"
        if len(_escaped(line)) <= _SECTION_CHARACTERS:
            break
    return line


def _listed(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _name(text: str) -> str:
    return clean(text, _NAME_CHARACTERS)


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
