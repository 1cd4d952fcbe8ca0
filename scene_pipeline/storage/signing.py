"""Addresses that work for a while: what is signed, with which key, and how it is checked.

Belongs here: the signature of our own addresses, and the key behind it. Does not belong here: how
an address looks (`storage.served`), and the signatures of S3 and Google.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Literal

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings
from scene_pipeline.storage.files import UnfinishedFile, name_once

KEY_FILE = ".signing-key"
"""Below SCENE_PIPELINE_HOME; readable for its owner alone. No storage key starts with a dot, so it
is not shown even where that directory is the store."""
MIN_KEY_BYTES = 16

_KEY_BYTES = 32
_EXPIRES = re.compile(r"\d{1,12}", re.ASCII)


class Signer:
    """Signs and checks; the key is looked up, or made, when it is first needed.

    Args:
        find_key: Gives the key, always the same.
        clock: Seconds since 1970.
    """

    def __init__(
        self, find_key: Callable[[], bytes], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._find_key = find_key
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings) -> "Signer":
        """With SCENE_PIPELINE_SIGNING_KEY, else with the key in SCENE_PIPELINE_HOME."""
        given = settings.signing_key
        if given is not None:
            return cls(given.encode)
        return cls(lambda: kept_key(settings.home_directory))

    def expiry(self, seconds: int) -> int:
        """When an address that is to work for so long ends, in seconds since 1970."""
        return int(self._clock()) + seconds

    def sign(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        expires: int,
        *,
        content_type: str = "",
        max_bytes: int = 0,
    ) -> str:
        """The signature of one permission, 64 hex digits.

        Args:
            method: What may be done; GET stands for HEAD too.
            key: With which object.
            expires: Until when, in seconds since 1970.
            content_type: Of an upload.
            max_bytes: Of an upload.
        """
        said = "\n".join((method, key, str(expires), content_type, str(max_bytes)))
        return hmac.new(self._key, said.encode(), hashlib.sha256).hexdigest()

    def admits(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        expires: str,
        signature: str,
        *,
        content_type: str = "",
        max_bytes: int = 0,
    ) -> bool:
        """Whether a permission is ours, unaltered and not yet over."""
        if _EXPIRES.fullmatch(expires) is None or int(expires) <= self._clock():
            return False
        ours = self.sign(method, key, int(expires), content_type=content_type, max_bytes=max_bytes)
        # Compared as bytes: text of a stranger may hold characters that the comparison refuses.
        return hmac.compare_digest(ours.encode(), signature.encode("utf-8", "surrogatepass"))

    @cached_property
    def _key(self) -> bytes:
        return self._find_key()


def kept_key(home: Path) -> bytes:
    """The key that is kept in a data directory; of many that make it at once, one wins for all.

    Raises:
        ConfigurationError: code "signing_key_invalid" where the file cannot be read or made, or
            holds too little.
    """
    path = home / KEY_FILE
    try:
        if not path.exists():
            _make_key(home, path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise _unusable(path, f"cannot be read or made ({error.strerror})") from error
    if len(key) < MIN_KEY_BYTES:
        raise _unusable(path, f"holds fewer than {MIN_KEY_BYTES} characters")
    return key


def _make_key(home: Path, path: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    with UnfinishedFile(home, mode=0o600) as unfinished:
        unfinished.write(secrets.token_hex(_KEY_BYTES).encode())
        unfinished.flush()
        name_once(unfinished.path, path, home / f"{KEY_FILE}.lock")


def _unusable(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The key that signs addresses, {path.name} in SCENE_PIPELINE_HOME, {reason}.",
        code="signing_key_invalid",
        next_action=(
            "Remove the file for a new key (addresses signed before end), or set "
            "SCENE_PIPELINE_SIGNING_KEY."
        ),
    )
