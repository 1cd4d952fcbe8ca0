"""Addresses of what our own server shows: their form, their signatures, and the key behind them."""

import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.parse import parse_qsl, urlsplit

import pytest

from scene_pipeline.errors import ConfigurationError, StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.database import DatabaseStore
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline.storage.served import ServedMode, ServedStore, served_mode
from scene_pipeline.storage.signing import KEY_FILE, Signer, kept_key

KEY = "projects/p/scenes/scene_1_20250102T030405Z_0123456789abcdef.png"
SERVER = "https://frames.example"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> Signer:
    return Signer(lambda: b"a key for tests only", clock=clock)


def store(signer: Signer, permanent: ServedMode = "public") -> ServedStore:
    # Nothing is contacted for an address, so none of these places need to be there.
    return LocalStore(Path("/nowhere"), f"{SERVER}/", permanent=permanent, signer=signer)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def test_permanent_addresses_are_public_or_the_gateways(signer: Signer) -> None:
    assert store(signer).url(KEY) == f"{SERVER}/frames/{KEY}"
    assert store(signer, "gateway").url(KEY) == f"{SERVER}/media/{KEY}"
    assert store(signer, "gateway").url(KEY, "public") == f"{SERVER}/frames/{KEY}"
    assert store(signer).url(KEY, "gateway") == f"{SERVER}/media/{KEY}"


def test_the_database_store_has_the_same_addresses_and_asks_no_server(signer: Signer) -> None:
    rows = DatabaseStore("postgresql://me:hidden@192.0.2.1/db", SERVER, signer=signer)
    files = store(signer)
    for mode in (None, "public", "gateway", "signed"):
        assert rows.urls([KEY], mode) == files.urls([KEY], mode)
    given = rows.presign_upload(KEY, content_type="image/png", max_bytes=10)
    assert given == files.presign_upload(KEY, content_type="image/png", max_bytes=10)
    assert "hidden" not in rows.description
    with pytest.raises(StorageError) as raised:
        rows.presign_upload(KEY, content_type="image/png", max_bytes=256 * 1024**2 + 1)
    assert raised.value.error_code == "object_too_large"


def test_an_unsigned_reader_is_admitted_where_everybody_is_and_never_to_uploads(
    signer: Signer,
) -> None:
    assert store(signer).admits_reader(KEY, {})
    assert not store(signer).admits_reader("uploads/1.png", {})
    assert not store(signer, "gateway").admits_reader(KEY, {})


def test_a_signature_opens_one_object_until_it_is_over(signer: Signer, clock: Clock) -> None:
    place = store(signer, "gateway")
    query = query_of(place.urls([KEY], "signed", expires_seconds=60)[KEY])
    assert place.admits_reader(KEY, query)
    assert not place.admits_reader(KEY.replace("scene_1", "scene_2"), query)
    clock.now += 59
    assert place.admits_reader(KEY, query)
    clock.now += 1
    assert not place.admits_reader(KEY, query)


@pytest.mark.parametrize(
    "altered",
    [
        {"expires": "1800000061"},
        {"expires": "9" * 40},
        {"expires": "-1"},
        {"expires": "٣"},
        {"expires": ""},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "é" * 64},
        {"signature": "\ud800"},
    ],
)
@pytest.mark.parametrize("permanent", ["public", "gateway"])
def test_an_altered_signature_opens_nothing_even_where_everybody_may_read(
    signer: Signer, permanent: ServedMode, altered: dict[str, str]
) -> None:
    place = store(signer, permanent)
    query = query_of(place.urls([KEY], "signed", expires_seconds=60)[KEY])
    assert not place.admits_reader(KEY, query | altered)


def test_a_permission_to_read_is_none_to_write_and_the_other_way_round(signer: Signer) -> None:
    place = store(signer, "gateway")
    upload = query_of(place.presign_upload(KEY, content_type="image/png", max_bytes=10).url)
    assert not place.admits_reader(KEY, upload)
    reading = query_of(place.url(KEY, "signed"))
    whole = reading | {"content_type": "image/png", "max_bytes": "10"}
    assert place.upload_permit(KEY, whole) is None
    assert place.upload_permit(KEY, reading) is None


@pytest.mark.parametrize(
    "altered",
    [
        {"max_bytes": "11"},
        {"max_bytes": "010"},
        {"max_bytes": "0"},
        {"max_bytes": ""},
        {"max_bytes": "1" * 30},
        {"content_type": "text/html"},
        {"content_type": ""},
        {"expires": "1900000000"},
        {"signature": "0" * 64},
    ],
)
def test_an_altered_upload_address_permits_nothing(signer: Signer, altered: dict[str, str]) -> None:
    place = store(signer)
    query = query_of(place.presign_upload(KEY, content_type="image/png", max_bytes=10).url)
    assert place.upload_permit(KEY, query) is not None
    assert place.upload_permit("uploads/1.png", query) is None
    assert place.upload_permit(KEY, query | altered) is None


def test_without_a_signer_there_is_nothing_signed(tmp_path: Path) -> None:
    place = LocalStore(tmp_path, SERVER)
    for attempt in (
        lambda: place.url(KEY, "signed"),
        lambda: place.presign_upload(KEY, content_type="image/png", max_bytes=10),
    ):
        with pytest.raises(StorageError) as raised:
            attempt()
        assert raised.value.error_code == "url_mode_unsupported"
    assert not place.admits_reader(KEY, {"expires": "1", "signature": ""})
    assert place.upload_permit(KEY, {"max_bytes": "1"}) is None


def test_the_settings_choose_the_permanent_address(tmp_path: Path) -> None:
    public = build_store(load_settings(home=tmp_path, public_url=SERVER))
    assert public.url(KEY) == f"{SERVER}/frames/{KEY}"
    private = load_settings(home=tmp_path, public_url=SERVER, url_mode="gateway")
    assert build_store(private).url(KEY) == f"{SERVER}/media/{KEY}"
    with pytest.raises(ConfigurationError) as raised:
        served_mode(load_settings(home=tmp_path, url_mode="cdn"))
    assert raised.value.error_code == "url_mode_unsupported"


def test_the_key_is_made_when_it_is_first_needed_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    place = build_store(load_settings(home=home, public_url=SERVER))
    place.url(KEY)
    assert not home.exists()
    signed = place.url(KEY, "signed")
    path = home / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_bytes()
    assert len(key) == 64
    assert key.decode() not in signed
    # Another process of the same home takes the same one.
    query = query_of(signed)
    again = LocalStore(home, SERVER, signer=Signer.of(load_settings(home=home)))
    assert again.admits_reader(KEY, query)
    assert {entry.name for entry in home.iterdir()} == {KEY_FILE}
    with pytest.raises(StorageError):
        again.locate(KEY_FILE)


def test_of_many_that_make_the_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    together = Barrier(16)

    def make(_: int) -> bytes:
        together.wait(timeout=30)
        return kept_key(tmp_path / "home")

    with ThreadPoolExecutor(16) as makers:
        assert len(set(makers.map(make, range(16)))) == 1


def test_a_key_of_the_settings_is_used_and_none_is_made(tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = build_store(load_settings(home=home, signing_key="sixteen letters!"))
    other = build_store(load_settings(home=tmp_path / "other", signing_key="sixteen letters!"))
    assert isinstance(other, ServedStore)
    assert other.admits_reader(KEY, query_of(one.url(KEY, "signed")))
    assert not home.exists()


def test_a_key_file_that_cannot_sign_is_told(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short\n")
    with pytest.raises(ConfigurationError) as raised:
        kept_key(tmp_path)
    assert raised.value.error_code == "signing_key_invalid"
    (tmp_path / KEY_FILE).unlink()
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(ConfigurationError) as raised:
        kept_key(tmp_path)
    assert raised.value.error_code == "signing_key_invalid"


def test_what_is_signed_is_documented_by_an_example(signer: Signer) -> None:
    # Addresses that are out there must go on working: this form never changes.
    said = f"PUT\n{KEY}\n1800000060\nimage/png\n10".encode()
    expected = hmac.new(b"a key for tests only", said, "sha256").hexdigest()
    signed = signer.sign("PUT", KEY, 1_800_000_060, content_type="image/png", max_bytes=10)
    assert signed == expected
