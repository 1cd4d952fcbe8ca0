"""The form of a service's key.

Belongs here: whether a text can be a key at all. Does not belong here: which variable holds it and
to which hosts it may go; that is each provider's own.
"""

from scene_pipeline.errors import ConfigurationError


def missing_key(provider: str, variable: str, *, code: str) -> ConfigurationError:
    """The error of building a provider whose key is not set."""
    return ConfigurationError(
        f"The provider {provider} needs a key, and {variable} is not set.",
        code=code,
        next_action=f"Set {variable} to a key of your account, or use `--provider offline`.",
    )


def checked_token(token: str, *, variable: str, code: str, next_action: str | None = None) -> str:
    """Give a key back, without the spaces around it.

    Args:
        token: As it was set.
        variable: The environment variable that holds it.
        code: Of the error.
        next_action: Of the error; to copy it again from the account, where left out.

    Raises:
        ConfigurationError: It is empty or cannot be put into a header; it is not repeated.
    """
    token = token.strip()
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token
    message = f"{variable} is empty or holds characters that a key cannot have."
    raise ConfigurationError(
        message,
        code=code,
        next_action=next_action or f"Copy the value of {variable} again from your account.",
    )
