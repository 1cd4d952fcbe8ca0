"""Slugs and digests: how a text becomes part of an identifier."""

import hashlib
import re
import unicodedata

_SLUG_LENGTH = 60


def slug(text: str, *, max_length: int = _SLUG_LENGTH) -> str:
    """Reduce a text to lower-case ASCII letters, digits and single hyphens.

    Accents are dropped. A text of which nothing remains (another script, punctuation only) becomes
    `untitled-` and eight digits of its hash, so that two such texts stay apart.

    Args:
        text: Anything.
        max_length: Longest result, at least 17 characters.

    Returns:
        1 to `max_length` characters that start and end with a letter or digit.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    words = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")
    return words[:max_length].rstrip("-") or f"untitled-{text_digest(text)[:8]}"


def text_digest(text: str) -> str:
    """Hash a text, also one that holds half of a character; lower-case hex sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
