"""Which URLs may be fetched, judged by their text alone: no name is looked up here.

Belongs here: reading a URL strictly, host patterns, the allowlist. Does not belong here: addresses
(`media.addresses`) and connections (`media.network`, `media.fetch`).

Libraries disagree about odd URLs (a backslash before the "@" makes one see fal.media where another
sees 127.0.0.1), so the odd is refused, and what is sent is built from the parts that were checked.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import idna

from scene_pipeline.errors import ConfigurationError, FetchError
from scene_pipeline.media.addresses import parse_address

MAX_URL_CHARACTERS = 2048
_MAX_HOST_CHARACTERS = 253
_DEFAULT_PORTS: dict[str, int] = {"https": 443, "http": 80}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Cc control, Cf invisible format, Cs surrogate, Zs/Zl/Zp every kind of space
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
_ALLOWLIST_CURE = "Add the host to ASSET_HOST_ALLOWLIST if pictures from there are wanted."


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL that passed every rule of text, host and allowlist; only its parts are ever sent."""

    scheme: Literal["https", "http"]
    host: str
    """Lower-case ASCII name without trailing dot, or an address literal without brackets."""
    port: int
    target: str
    """Path and query as they go on the wire; begins with "/"."""
    is_trusted_private: bool
    """Whether the host and port were trusted by name, so that a private address is allowed."""

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL. May hold a signed query: not for messages."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def redacted(self) -> str:
        """The URL with its query left out, for messages and records."""
        path, separator, _ = self.target.partition("?")
        return f"{self.scheme}://{self.authority}{path}{'?...' if separator else ''}"


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of an allowlist: `host`, `*.host`, each with an optional `:port`."""

    host: str
    is_wildcard: bool = False
    port: int | None = None

    def matches(self, host: str, port: int) -> bool:
        """Compare label by label: `*.fal.media` is neither fal.media nor evilfal.media."""
        if self.port is not None and self.port != port:
            return False
        return host.endswith(f".{self.host}") if self.is_wildcard else host == self.host


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which hosts may be fetched from, and which of them may stand in a private network."""

    allowed: tuple[HostPattern, ...]
    trusted_private: tuple[HostPattern, ...] = ()

    @classmethod
    def of(cls, allowlist: Iterable[str], trusted_private_hosts: Iterable[str] = ()) -> "UrlPolicy":
        """Read both lists.

        Args:
            allowlist: Entries `host`, `*.host`, `host:port`.
            trusted_private_hosts: Entries `host` (any port) or `host:port`, without wildcards. They
                are fetched only when the allowlist names them too.

        Raises:
            ConfigurationError: An entry is none of these; names it.
        """
        trusted = tuple(_read_pattern(entry) for entry in trusted_private_hosts)
        for pattern in trusted:
            if pattern.is_wildcard:
                raise _bad_entry(f"*.{pattern.host}")
        return cls(tuple(_read_pattern(entry) for entry in allowlist), trusted)

    def allows(self, host: str, port: int) -> bool:
        """Whether the allowlist holds the host."""
        return any(pattern.matches(host, port) for pattern in self.allowed)

    def trusts(self, host: str, port: int) -> bool:
        """Whether host and port may be in a private network; the allowlist must hold them too."""
        return self.allows(host, port) and any(
            pattern.matches(host, port) for pattern in self.trusted_private
        )


def check_url(url: str, policy: UrlPolicy) -> CheckedUrl:
    """Check a URL's text, host, port and scheme against the rules.

    Raises:
        FetchError: `invalid_url`, `blocked_scheme`, `blocked_host` or `blocked_port`; never
            retryable. The message names the host at most, never the path or query.
    """
    scheme, rest = _split_scheme(url)
    authority, target = _split_authority(rest)
    host_text, port_text = _split_port(authority)
    host = _normal_host(host_text)
    port = _DEFAULT_PORTS.get(scheme, 0) if port_text is None else _read_port(port_text)

    is_trusted = policy.trusts(host, port)
    if scheme == "https":
        checked_scheme: Literal["https", "http"] = "https"
    elif scheme == "http" and is_trusted:
        checked_scheme = "http"
    else:
        raise _refused("blocked_scheme", f"Only https URLs are fetched, this one is {scheme}.")
    if not is_trusted:
        _refuse_literals(host)
    if not policy.allows(host, port):
        raise _refused("blocked_host", f"The host {host} is not allowed.", _ALLOWLIST_CURE)
    if port != _DEFAULT_PORTS["https"] and not is_trusted:
        raise _refused("blocked_port", f"Port {port} of {host} is not allowed, only 443 is.")
    return CheckedUrl(checked_scheme, host, port, target, is_trusted)


def has_forbidden_characters(text: str) -> bool:
    """Whether a text holds what no URL does: spaces, backslashes, invisible characters."""
    return "\\" in text or any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES for char in text)


def _refused(code: str, message: str, next_action: str | None = None) -> FetchError:
    return FetchError(
        message, code=code, next_action=next_action or "Give an https URL of an allowed host."
    )


def _invalid(reason: str) -> FetchError:
    return _refused("invalid_url", f"The URL cannot be used: {reason}.")


def _split_scheme(url: str) -> tuple[str, str]:
    """Refuse dangerous text, then give the lower-case scheme and what follows `scheme://`."""
    if not url:
        raise _invalid("it is empty")
    if len(url) > MAX_URL_CHARACTERS:
        raise _invalid(f"it is longer than {MAX_URL_CHARACTERS} characters")
    if has_forbidden_characters(url):
        raise _invalid("it holds a space, a backslash or an invisible character")
    if url.startswith("//"):
        raise _refused("blocked_scheme", "The URL names no scheme; only https URLs are fetched.")
    match = _SCHEME.match(url)
    if match is None:
        raise _invalid("it names no scheme")
    scheme = match[1].lower()
    if scheme not in _DEFAULT_PORTS:
        raise _refused("blocked_scheme", f"Only https URLs are fetched, this one is {scheme}.")
    rest = url[match.end() :]
    if not rest.startswith("//"):
        raise _invalid("two slashes must follow its scheme")
    return scheme, rest[2:]


def _split_authority(rest: str) -> tuple[str, str]:
    """Give the authority, and the target with everything beyond ASCII percent-encoded."""
    rest = rest.partition("#")[0]
    end = next((index for index, char in enumerate(rest) if char in "/?"), len(rest))
    authority, target = rest[:end], rest[end:]
    if not authority:
        raise _invalid("it names no host")
    if "@" in authority:
        raise _invalid("it holds a user name")
    if not target.startswith("/"):
        target = f"/{target}"
    return authority, quote(target, safe="!#$%&'()*+,/:;=?@[]~")


def _split_port(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise _invalid("its address literal is not closed")
        if not re.fullmatch(r"[0-9A-Fa-f:.]+(%.*)?", literal):
            raise _invalid("its address literal is malformed")
        return literal, tail[1:] if tail else None
    host, colon, port = authority.partition(":")
    return host, port if colon else None


def _read_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise _invalid("its port is not a number from 1 to 65535")
    return int(text)


def _normal_host(text: str) -> str:
    """Lower-case ASCII form of a host name or address literal.

    Raises:
        FetchError: `blocked_host`: no name of letters, digits and hyphens in labels of 1 to 63.
    """
    if ":" in text:
        address = None if "%" in text else parse_address(text)
        if address is None:
            raise _refused("blocked_host", "An address with a scope or a malformed one is refused.")
        return str(address)
    host = text.lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except UnicodeError as error:
            raise _refused("blocked_host", "The host's name is not a valid one.") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > _MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("blocked_host", "The host's name is not a valid one.")
    return host


def _refuse_literals(host: str) -> None:
    """Refuse addresses in every spelling: 127.1, 0x7f.1 and 2130706433 all reach loopback."""
    if ":" in host or _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        raise _refused("blocked_host", "The URL names an address instead of a host.")


def _bad_entry(entry: str) -> ConfigurationError:
    return ConfigurationError(
        f"The host list entry {entry!r} cannot be used.",
        code="host_list_invalid",
        next_action="Write `host`, `host:port` or, in the allowlist, `*.example.com`.",
    )


def _read_pattern(entry: str) -> HostPattern:
    text = entry.strip()
    is_wildcard = text.startswith("*.")
    try:
        host_text, port_text = _split_port(text[2:] if is_wildcard else text)
        host = _normal_host(host_text)
        port = None if port_text is None else _read_port(port_text)
    except FetchError as error:
        raise _bad_entry(entry) from error
    # "*.com" would allow a whole registry; "*" never was an entry
    if is_wildcard and "." not in host:
        raise _bad_entry(entry)
    return HostPattern(host, is_wildcard, port)
