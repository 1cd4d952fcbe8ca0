"""What no line of a log may hold: secrets, signed addresses, and line breaks of others.

Belongs here: the last net under everything that is logged. Does not belong here: leaving secrets
out of messages in the first place, which is everybody's own part.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit

from scene_pipeline.settings import Settings

HIDDEN = "[hidden]"
MIN_SECRET_LENGTH = 6
"""Shorter values are found in ordinary words."""

# Bounded, and each address taken whole: a text that is nothing but beginnings of addresses would be
# searched from each of them to its end.
_SCHEME = r"\b[a-z][a-z0-9+.-]{0,30}://"
_ADDRESS = re.compile(rf"{_SCHEME}[^\s\"'<>]+", re.IGNORECASE)
# Up to the last sign: a password may hold one itself.
_USER_INFORMATION = re.compile(rf"({_SCHEME})[^\s/?#\"'<>]+@", re.IGNORECASE)
_QUERY = re.compile(r"[?#].*")
_AUTHORIZATION = re.compile(
    r"\b(?:(?:Proxy-)?Authorization[\"']?\s*[:=]\s*[\"']?(?:(?:Basic|Bearer|Key|Token)\s+)?|Bearer\s+)"
    r"[^\s,;\"']+",
    re.IGNORECASE,
)
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""Everything that begins a new line or moves a terminal's cursor."""


class Redaction:
    """Takes out of a text what must not be shown.

    Args:
        secrets: Values that are hidden wherever they stand.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        values = {form for value in secrets for form in (value, quote(value, safe=""))}
        known = sorted((v for v in values if len(v) >= MIN_SECRET_LENGTH), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, known))) if known else None

    @classmethod
    def of(cls, settings: Settings) -> "Redaction":
        """Knows every secret of the settings: the fields that `repr` leaves out."""
        values: list[str] = []
        for name, field in Settings.model_fields.items():
            value = getattr(settings, name)
            if not field.repr and isinstance(value, str):
                values += [value, *_parts(value)]
        return cls(values)

    def one_line(self, text: str) -> str:
        """A text on one line: without secrets, queries of addresses, and names in them."""
        shown = _ADDRESS.sub(lambda address: _QUERY.sub("", address[0]), text)
        shown = _USER_INFORMATION.sub(r"\1", shown)
        shown = _AUTHORIZATION.sub(HIDDEN, shown)
        if self._secrets is not None:
            shown = self._secrets.sub(HIDDEN, shown)
        return _BREAKS.sub(" ", shown).strip()


def _parts(value: str) -> list[str]:
    """What is a secret within a secret: the password of an address, the halves of a key."""
    if "://" not in value:
        return value.split(":")
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        return []
    return [password, unquote(password)]
