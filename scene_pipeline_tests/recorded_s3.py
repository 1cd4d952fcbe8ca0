"""What boto3 would send to a server that no test may reach."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from urllib3 import HTTPResponse

_BEGUN = b"<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>"


class Recorder:
    """Writes requests down and answers them as if all went well; for `before-send.s3`."""

    def __init__(self) -> None:
        self.sent: list[AWSPreparedRequest] = []

    def __call__(self, request: AWSPreparedRequest, **_: object) -> Any:
        self.sent.append(request)
        query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
        answer = HTTPHeaders()
        answer["ETag"] = '"1"'
        if self.headers(request).get("x-amz-trailer") == "x-amz-checksum-crc32":
            answer["x-amz-checksum-crc32"] = f"crc{len(self.sent)}"
        body = BytesIO(_BEGUN if "uploads" in query else b"")
        return AWSResponse(request.url, 200, answer, HTTPResponse(body, preload_content=False))

    @staticmethod
    def headers(request: AWSPreparedRequest) -> Mapping[str, str]:
        """Its headers, by their names in small letters."""
        # Names and values are bytes or text, whatever the stubs say.
        headers: Any = request.headers
        return {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in headers.items()
        }
