"""What a URL's text alone decides: table U of the hostile inputs, and the host lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import ConfigurationError, FetchError
from scene_pipeline.media.redirects import next_hop
from scene_pipeline.media.urls import UrlPolicy, check_url

POLICY = UrlPolicy.of(
    ("fal.media", "*.fal.media", "bücher.example", "127.0.0.1", "minio.test:9000", "[::1]"),
    ("127.0.0.1", "minio.test:9000", "[::1]:8080", "not-allowed.test"),
)

REFUSED = (
    # schemes
    ("http://fal.media/x", "blocked_scheme"),
    ("ftp://fal.media/x", "blocked_scheme"),
    ("file:///etc/passwd", "blocked_scheme"),
    ("data:image/png;base64,AAAA", "blocked_scheme"),
    ("javascript:alert(1)", "blocked_scheme"),
    ("//fal.media/x", "blocked_scheme"),
    ("gopher://127.0.0.1:11211/", "blocked_scheme"),
    # hosts that the allowlist does not hold, by label
    ("https://example.com/x", "blocked_host"),
    ("https://evilfal.media/x", "blocked_host"),
    ("https://fal.media.evil.example/x", "blocked_host"),
    ("https://fal.media.evil/x", "blocked_host"),
    ("https://xn--fal-media.example/x", "blocked_host"),
    ("https://not-allowed.test/x", "blocked_host"),
    ("https://localhost/x", "blocked_host"),
    # addresses, in every spelling
    ("https://10.0.0.1/x", "blocked_host"),
    ("https://127.1/x", "blocked_host"),
    ("https://0x7f.1/x", "blocked_host"),
    ("https://2130706433/x", "blocked_host"),
    ("https://017700000001/x", "blocked_host"),
    ("https://0/x", "blocked_host"),
    ("https://0x/x", "blocked_host"),
    ("https://\uff11\uff12\uff17.0.0.2/x", "blocked_host"),
    ("https://[::1]/x", "blocked_host"),
    ("https://[::ffff:10.0.0.1]/x", "blocked_host"),
    ("https://[64:ff9b::7f00:1]/x", "blocked_host"),
    ("https://[2002:7f00:1::]/x", "blocked_host"),
    ("https://[fe80::1%25lo]/x", "blocked_host"),
    # names that are none
    ("https://fal_media.fal.media/x", "blocked_host"),
    ("https://-a.fal.media/x", "blocked_host"),
    ("https://a..fal.media/x", "blocked_host"),
    ("https://.fal.media/x", "blocked_host"),
    ("https://fal.media../x", "blocked_host"),
    ("https://fal%2emedia/x", "blocked_host"),
    (f"https://{'a' * 64}.fal.media/x", "blocked_host"),
    (f"https://{'a.' * 130}fal.media/x", "blocked_host"),
    # ports
    ("https://fal.media:22/x", "blocked_port"),
    ("https://fal.media:8443/x", "blocked_port"),
    ("https://fal.media:0/x", "invalid_url"),
    ("https://fal.media:99999/x", "invalid_url"),
    ("https://fal.media:/x", "invalid_url"),
    ("https://fal.media:44\uff13/x", "invalid_url"),
    ("https://fal.media:+443/x", "invalid_url"),
    # text
    ("", "invalid_url"),
    ("http://", "invalid_url"),
    ("https://", "invalid_url"),
    ("https:/fal.media/x", "invalid_url"),
    ("https:fal.media", "invalid_url"),
    ("fal.media/x", "invalid_url"),
    ("https:///x", "invalid_url"),
    ("https://?x", "invalid_url"),
    ("https://[bad/x", "invalid_url"),
    ("https://[::1]x/", "invalid_url"),
    ("https://[zz]/x", "invalid_url"),
    ("https://user@fal.media/x", "invalid_url"),
    ("https://user:pass@fal.media/x", "invalid_url"),
    ("https://127.0.0.1\\@fal.media/", "invalid_url"),
    ("https://fal.media/\r\nHost: internal", "invalid_url"),
    ("https://fal.media/a b", "invalid_url"),
    (" https://fal.media/x", "invalid_url"),
    ("https://fal.media/\x00", "invalid_url"),
    ("https://fal.media/\u2028", "invalid_url"),
    ("https://fal.me\u200bdia/x", "invalid_url"),
    ("https://fal.media/\ud800", "invalid_url"),
    ("https://fal.media/" + "a" * 3000, "invalid_url"),
)

PASSED = (
    ("https://fal.media/x.png", "https://fal.media/x.png"),
    ("HTTPS://V3.FAL.MEDIA/files/X.png", "https://v3.fal.media/files/X.png"),
    ("https://fal.media:443/x", "https://fal.media/x"),
    ("https://fal.media./x", "https://fal.media/x"),
    ("https://fal.media", "https://fal.media/"),
    ("https://fal.media?a=b#frag", "https://fal.media/?a=b"),
    ("https://fal.media/a%20b/ü?q=%41", "https://fal.media/a%20b/%C3%BC?q=%41"),
    ("https://a.b.fal.media/x", "https://a.b.fal.media/x"),
    ("https://BÜCHER.example/x", "https://xn--bcher-kva.example/x"),
    ("https://xn--bcher-kva.example/x", "https://xn--bcher-kva.example/x"),
)

TRUSTED = (
    ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
    ("https://127.0.0.1/x", "https://127.0.0.1/x"),
    ("http://127.0.0.1/x", "http://127.0.0.1/x"),
    ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ("http://[::ffff:127.0.0.1]:1/x", "http://127.0.0.1:1/x"),
    ("http://minio.test:9000/x", "http://minio.test:9000/x"),
)


@pytest.mark.parametrize(("url", "code"), REFUSED)
def test_a_bad_url_is_refused_for_good(url: str, code: str) -> None:
    with pytest.raises(FetchError) as caught:
        check_url(url, POLICY)
    assert caught.value.error_code == code
    assert not caught.value.retryable


@pytest.mark.parametrize(("url", "text"), PASSED)
def test_a_good_url_is_normalised(url: str, text: str) -> None:
    checked = check_url(url, POLICY)
    assert checked.text == text
    assert not checked.is_trusted_private


@pytest.mark.parametrize(("url", "text"), TRUSTED)
def test_a_trusted_private_host_may_use_http_and_its_port(url: str, text: str) -> None:
    checked = check_url(url, POLICY)
    assert checked.text == text
    assert checked.is_trusted_private


@pytest.mark.parametrize("url", ["http://minio.test:9001/x", "https://minio.test/x"])
def test_trust_in_one_port_is_no_trust_in_another(url: str) -> None:
    with pytest.raises(FetchError):
        check_url(url, POLICY)


def test_trust_without_the_allowlist_is_none() -> None:
    assert not POLICY.trusts("not-allowed.test", 80)
    with pytest.raises(FetchError) as caught:
        check_url("http://not-allowed.test/x", POLICY)
    assert caught.value.error_code == "blocked_scheme"


@pytest.mark.parametrize(
    ("origin", "location", "code"),
    [
        ("https://127.0.0.1/x", "http://127.0.0.1/y", "redirect_blocked_scheme"),
        ("https://fal.media/x", "https://127.0.0.1/y", "redirect_blocked_host"),
        ("https://fal.media/x", "http://127.0.0.1/y", "redirect_blocked_scheme"),
        ("https://fal.media/x", "https://v3.fal.me\tdia/y", "redirect_invalid_url"),
        ("https://fal.media/x", "ht\ntps://v3.fal.media/y", "redirect_invalid_url"),
        ("https://fal.media/x", " /y", "redirect_invalid_url"),
    ],
)
def test_a_redirect_may_not_weaken_what_the_first_url_was_held_to(
    origin: str, location: str, code: str
) -> None:
    with pytest.raises(FetchError) as caught:
        next_hop(check_url(origin, POLICY), location, POLICY)
    assert caught.value.error_code == code


def test_a_redirect_within_the_rules_is_followed() -> None:
    origin = check_url("https://fal.media/a/b?c=d", POLICY)
    assert next_hop(origin, "../e", POLICY).text == "https://fal.media/e"
    assert next_hop(origin, "//v3.fal.media/f", POLICY).text == "https://v3.fal.media/f"


def test_redacted_urls_and_messages_keep_queries_to_themselves() -> None:
    checked = check_url("https://fal.media/a/b.png?X-Amz-Signature=secret", POLICY)
    assert checked.redacted == "https://fal.media/a/b.png?..."
    with pytest.raises(FetchError) as caught:
        check_url("https://example.com/path?token=secret", POLICY)
    assert "secret" not in caught.value.message + caught.value.next_action


@pytest.mark.parametrize(
    "entry", ["*", "*.com", "https://fal.media", "fal.media/x", "a b", "", "fal.media:0", "[::1"]
)
def test_a_malformed_allowlist_entry_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        UrlPolicy.of([entry])
    assert repr(entry) in caught.value.message


def test_a_private_host_is_never_trusted_by_wildcard() -> None:
    with pytest.raises(ConfigurationError):
        UrlPolicy.of(["*.internal.test"], ["*.internal.test"])


@given(st.text(max_size=80))
def test_any_text_is_checked_or_refused_and_never_crashes(text: str) -> None:
    codes: set[str] = set()
    for url in (text, f"https://{text}", f"https://fal.media/{text}", f"https://fal.media{text}"):
        try:
            checked = check_url(url, POLICY)
        except FetchError as error:
            codes.add(error.error_code)
        else:
            assert POLICY.allows(checked.host, checked.port)
            assert checked.text.isascii()
            assert check_url(checked.text, POLICY) == checked
    assert codes <= {"invalid_url", "blocked_scheme", "blocked_host", "blocked_port"}
