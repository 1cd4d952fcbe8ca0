"""The way out: the one TLS context and the one proxy that every outgoing connection uses.

Belongs here: what providers, media and storage must share to leave the machine in the same way.
Does not belong here: which host may be contacted (`media.fetch`, `providers`). The environment's
own proxy variables are ignored everywhere; `SCENE_PIPELINE_EGRESS_PROXY` is the only proxy.
"""

import ssl
from functools import lru_cache
from pathlib import Path

import certifi

from scene_pipeline.errors import ConfigurationError


@lru_cache(maxsize=4)
def tls_context(extra_ca_file: Path | None) -> ssl.SSLContext:
    """Trust certifi's roots and, where given, a private CA; building one costs about 13 ms.

    Args:
        extra_ca_file: PEM file from SSL_CERT_FILE, added to certifi's roots, never replacing them.

    Raises:
        ConfigurationError: The file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if extra_ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(extra_ca_file))
        except OSError as error:
            reason = _reason(error)
            message = f"SSL_CERT_FILE {extra_ca_file} cannot be used: {reason}."
            raise ConfigurationError(
                message, code="ca_file_invalid", next_action="Name a PEM file of CA certificates."
            ) from error
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):  # an OSError, too
        return "it holds no certificate in PEM form"
    return (error.strerror or "it cannot be read").lower()
