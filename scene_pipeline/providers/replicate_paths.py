"""Where Replicate is asked.

Belongs here: its one host and its paths. Does not belong here: connections (`bearer`).
"""

from typing import Final

API_HOST: Final = "api.replicate.com"
API_ORIGIN: Final = f"https://{API_HOST}"
PREDICTIONS_URL: Final = f"{API_ORIGIN}/v1/predictions"
