"""Pages: anybody's text stays text, and whatever is shown, a page stays small and the same."""

import base64
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from scene_pipeline.pipeline.reporting.page import (
    MAX_PAGE_BYTES,
    MAX_TABLE_ROWS,
    Page,
    PageScene,
    PageTable,
    PageVersion,
    render_page,
)
from scene_pipeline.scenes.prompt_diff import compare_prompts

HOSTILE = "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>{{ 7 * 7 }}"
PICTURE = b"\xff\xd8" + bytes(range(256)) * 6


def version(number: int = 1, **over: object) -> PageVersion:
    facts: dict[str, object] = {
        "version": number,
        "is_current": True,
        "url": "https://frames.example/a.png",
        "model": "offline landscape",
        "seed": 7,
        "cost_usd": Decimal("0.025"),
        "cost_kind": "metered",
        "size": "64x64",
        "size_bytes": 1234,
        "made_at": "2026-01-02 03:04:05 UTC",
        "remark": "",
        "prompt": "A pier",
        "shows_prompt": True,
    }
    return PageVersion(**(facts | over))  # type: ignore[arg-type]  # as given


def scene(**over: object) -> PageScene:
    facts: dict[str, object] = {
        "scene_id": "scene_1",
        "state": "current",
        "is_ready": True,
        "is_locked": False,
        "why": "",
        "next_action": "",
        "prompt": "A pier",
        "version": 1,
        "url": "https://frames.example/a.png",
        "cost_usd": Decimal("0.025"),
        "picture": PICTURE,
        "versions": [version()],
    }
    return PageScene(**(facts | over))  # type: ignore[arg-type]  # as given


def rendered(*scenes: PageScene, **over: object) -> str:
    page = Page(**({"title": "A film", "subtitle": "film", "scenes": scenes} | over))  # type: ignore[arg-type]  # as given
    return render_page(page).decode()


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_scene_is_shown_with_its_picture_facts_and_address() -> None:
    page = rendered(scene(is_locked=True))

    assert f"data:image/jpeg;base64,{base64.b64encode(PICTURE).decode()}" in page
    for words in (
        "Every scene is ready for video",
        "Version 1, $0.025 so far, locked",
        "seed 7, 64x64, 1,234 bytes, $0.025 metered, 2026-01-02 03:04:05 UTC",
        '<a href="https://frames.example/a.png" rel="noreferrer">',
    ):
        assert words in page


def test_what_is_not_ready_stands_first_with_why_and_what_to_do() -> None:
    page = Elements(
        rendered(
            scene(), scene(scene_id="s2", is_ready=False, why="no frame yet", next_action="run")
        )
    ).text

    assert "Not ready for video: 1 of 2" in page
    assert page.index("no frame yet") < page.index("Scenes")


@pytest.mark.parametrize(
    "over",
    [
        {"scene_id": HOSTILE},
        {"state": HOSTILE},
        {"prompt": HOSTILE},
        {"is_ready": False, "why": HOSTILE},
        {"next_action": HOSTILE},
        {"url": "javascript:alert(1)"},
        {"versions": [version(prompt=HOSTILE)]},
        {"versions": [version(model=HOSTILE, remark=HOSTILE, url="data:text/html,x")]},
        {"versions": [version(shows_prompt=False, changes=compare_prompts("a", HOSTILE))]},
    ],
)
def test_anybodys_text_stays_text(over: dict[str, object]) -> None:
    page = Elements(rendered(scene(**over), title=HOSTILE, subtitle=HOSTILE, notes=[HOSTILE]))

    plain = Elements(rendered(scene(is_ready=over.get("is_ready", True))))
    allowed = {tag for tag, _ in plain.tags} | {"ins", "del", "code", "tr", "td", "p"}
    assert {tag for tag, _ in page.tags} <= allowed
    assert "{{ 7 * 7 }}" in page.text
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "https://").startswith("https://")
        assert (attributes.get("src") or "data:image/").startswith("data:image/")


def test_further_tables_are_shown_with_numbers_and_links() -> None:
    table = PageTable(
        "By model",
        ("Model", "Frames", "USD", "Is it <dear>?", "Where"),
        [
            ("flux", 1200, 0.125, True, "https://a.example/?x=1&y=2"),
            ("x", None, Decimal(3), False, ""),
        ],
    )

    page = render_page(Page("Film", ""), further_tables=[table]).decode()

    assert '<td class="number"><bdi>1,200</bdi></td>' in page
    assert '<td class="number"><bdi>0.125</bdi></td>' in page
    assert '<td class="number"><bdi>3</bdi></td>' in page
    assert "<bdi>yes</bdi>" in page
    assert "Is it &lt;dear&gt;?" in page
    assert '<a href="https://a.example/?x=1&amp;y=2" rel="noreferrer">' in page


def test_a_table_has_a_bounded_number_of_rows() -> None:
    table = PageTable("Long", ("N",), [(number,) for number in range(MAX_TABLE_ROWS + 5)])

    page = render_page(Page("Film", ""), further_tables=[table]).decode()

    assert "and 5 more rows" in page
    assert f">{MAX_TABLE_ROWS + 1:,}<" not in page


def test_equal_content_is_equal_bytes() -> None:
    assert rendered(scene()) == rendered(scene())


def test_pictures_of_older_versions_are_left_out_first() -> None:
    older = version(is_current=False, picture=b"\xff\xd8" + b"older" * 100_000)
    scenes = [scene(scene_id=f"s{number}", versions=[version(2), older]) for number in range(40)]

    page = rendered(*scenes)

    assert len(page) <= MAX_PAGE_BYTES
    assert "Pictures of older versions are left out" in page
    assert page.count("data:image/jpeg") == 40


@pytest.mark.parametrize("text", ["plain words " * 300, "<&>\"'" * 800, "\U0001f300" * 3000])
def test_the_largest_film_stays_small_and_says_what_is_left_out(text: str) -> None:
    old = [version(number, prompt=text, is_current=False) for number in range(20)]
    one = scene(prompt=text, why=text, next_action=text, is_ready=False, versions=old)

    page = rendered(*[one] * 5000)

    assert len(page.encode()) <= MAX_PAGE_BYTES * 1.1
    assert "left out to keep it small" in page
    assert "and 4000 more" in page


def test_half_a_character_does_not_break_a_page() -> None:
    assert render_page(Page("\ud800", "")).startswith(b"<!doctype html>")
