"""Redirects, followed by hand: each target passes every rule that the first URL passed, and more.

Belongs here: where a redirect may lead. Does not belong here: following it (`media.fetch`).
"""

from urllib.parse import urljoin

from scene_pipeline.errors import FetchError
from scene_pipeline.media.urls import (
    MAX_URL_CHARACTERS,
    CheckedUrl,
    UrlPolicy,
    check_url,
    has_forbidden_characters,
)


def next_hop(origin: CheckedUrl, location: str, policy: UrlPolicy) -> CheckedUrl:
    """Check where a redirect leads.

    Args:
        origin: The URL that answered with it.
        location: Its Location header; "" where there was none.
        policy: As for the first URL.

    Raises:
        FetchError: `redirect_missing_location`, or `redirect_` and the code of the rule that the
            target breaks; never retryable.
    """
    if not location:
        raise redirect_error("missing_location", "names no target")
    # judged before joining, which would silently drop tabs and line ends
    if len(location) > MAX_URL_CHARACTERS or has_forbidden_characters(location):
        raise redirect_error("invalid_url", "names no valid target")
    try:
        target = check_url(urljoin(origin.text, location), policy)
    except ValueError as error:
        raise redirect_error("invalid_url", "names no valid target") from error
    except FetchError as error:
        raise as_redirect_error(error) from error
    if origin.scheme == "https" and target.scheme != "https":
        raise redirect_error("blocked_scheme", "leaves https")
    # a public server has no business pointing into a private network, trusted or not
    if target.is_trusted_private and not origin.is_trusted_private:
        raise redirect_error("blocked_host", "leads into a private network")
    return target


def redirect_error(reason: str, problem: str) -> FetchError:
    """The error for a redirect that is not followed; its code is `redirect_` and the reason."""
    return FetchError(f"The redirect {problem}.", code=f"redirect_{reason}")


def as_redirect_error(error: FetchError) -> FetchError:
    """Mark a refusal as one that a redirect led to; other errors stay what they are."""
    if not error.error_code.startswith(("blocked_", "invalid_url")):
        return error
    return FetchError(
        f"A redirect was refused: {error.message}",
        code=f"redirect_{error.error_code}",
        next_action=error.next_action,
    )
