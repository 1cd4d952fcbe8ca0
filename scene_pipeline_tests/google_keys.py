"""A service account that nobody knows, for what is signed without Google."""

import json
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ACCOUNT = "frames@project.iam.gserviceaccount.com"


@cache
def private_key() -> rsa.RSAPrivateKey:
    """The account's key; making one takes a tenth of a second."""
    return rsa.generate_private_key(65537, 2048)


def service_account(tokens_at: str = "https://oauth2.googleapis.com/token") -> str:
    """The key as the JSON that Google hands out."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key_id": "1",
            "private_key": pem.decode(),
            "token_uri": tokens_at,
        }
    )
