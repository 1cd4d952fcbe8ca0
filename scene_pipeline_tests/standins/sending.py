"""What a browser does with the permission for an upload."""

import ssl
from pathlib import Path

import httpx

from scene_pipeline.storage.base import PresignedUpload


def send(permission: PresignedUpload, data: bytes, content_type: str, ca_file: Path | None) -> int:
    """Send a file as the permission says; returns the status of the answer."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
        if permission.method == "PUT":
            answer = client.put(permission.url, content=data, headers=dict(permission.headers))
        else:
            answer = client.post(
                permission.url,
                data=dict(permission.fields),
                files={"file": ("file", data, content_type)},
            )
    return answer.status_code
