"""What broke on the way, in our words, and whether trying again can help.

Belongs here: httpcore's exceptions to `FetchError`. Does not belong here: answers that arrived
(`media.responses`) and refusals of our own (`media.urls`, `media.network`).
"""

import ssl

import httpcore

from scene_pipeline.errors import FetchError

TRANSPORT_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)


def over_deadline(host: str, total_seconds: float) -> FetchError:
    """The error for a fetch whose time is up."""
    return _broken("deadline", f"{host} did not give the file within {total_seconds:g} s.")


def explain_transport_error(error: Exception, host: str, *, has_answer: bool) -> FetchError:
    """Translate one of `TRANSPORT_ERRORS`.

    Args:
        error: As httpcore raised it.
        host: Asked for, for the message.
        has_answer: Whether status and headers had arrived.
    """
    if isinstance(error, httpcore.ProxyError):
        return _proxy_refusal(error, host)
    tls_refusal = _tls_refusal(error)
    if tls_refusal is not None:
        return FetchError(
            f"{host} could not prove who it is: {tls_refusal}.",
            code="tls",
            next_action="If its CA is a private one, name the CA's file in SSL_CERT_FILE.",
        )
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        return _broken("connect", f"No connection to {host}.")
    if isinstance(error, httpcore.TimeoutException):
        return _broken("timeout", f"{host} fell silent.")
    if has_answer:
        return _broken("short_body", f"{host} broke off in the middle of the file.")
    return _broken("connection_lost", f"{host} hung up without a proper answer.")


def _broken(code: str, message: str) -> FetchError:
    return FetchError(message, code=code, retryable=True)


def _tls_refusal(error: BaseException) -> str | None:
    """The reason of a failed TLS handshake; None where the connection merely broke."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
        ):
            return str(cause.reason or "the handshake failed").replace("_", " ").lower()
        cause = cause.__cause__ or cause.__context__
    return None


def _proxy_refusal(error: Exception, host: str) -> FetchError:
    """A proxy that cannot reach the host may later; one that will not, will not."""
    status = str(error)[:3]
    return FetchError(
        f"The egress proxy answered {status} to a connection to {host}.",
        code="proxy_refused",
        retryable=status.startswith("5") or status == "429",
        next_action="Allow the host in the proxy that SCENE_PIPELINE_EGRESS_PROXY names.",
    )
