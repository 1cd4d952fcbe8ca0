import pytest
from sqlalchemy import make_url

from scene_pipeline.database.urls import alembic_url, application_url, dagster_url, redacted
from scene_pipeline.errors import ConfigurationError

REST = "alice:s%40crt@db.example:5433/frames?sslmode=require"


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "POSTGRES"]
)
def test_every_reader_gets_the_scheme_it_needs(scheme: str) -> None:
    url = f"{scheme}://{REST}"
    assert application_url(url) == f"postgresql://{REST}"
    assert alembic_url(url) == f"postgresql+psycopg://{REST}"
    assert dagster_url(url) == f"postgresql+psycopg2://{REST}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql:///frames",
        "postgresql://localhost",
        "postgresql://alice@/frames?host=/run/postgresql",
        "postgresql://[::1]:5432/frames",
        "postgresql://alice@localhost/frames?options=-c%20search_path%3Dx&sslmode=disable",
    ],
)
def test_forms_of_libpq_pass_unchanged(url: str) -> None:
    assert application_url(url) == url
    assert dagster_url(url) == url.replace("postgresql:", "postgresql+psycopg2:")
    make_url(dagster_url(url))


def test_several_hosts_are_spelled_as_sqlalchemy_reads_them() -> None:
    url = "postgresql://u:p@a:1,b:2/frames?sslmode=require"
    assert application_url(url) == url
    parsed = make_url(dagster_url(url))
    assert parsed.query == {"host": ("a:1", "b:2"), "sslmode": "require"}
    assert (parsed.username, parsed.password, parsed.database) == ("u", "p", "frames")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:s3cret@h/d",
        "sqlite:///s3cret",
        "postgresql+asyncpg://u:s3cret@h/d",
        "host=h password=s3cret",
        "postgresql:u:s3cret@h",
        "postgresql://u:s3cret@x@h/d",
        "",
    ],
)
def test_anything_else_is_refused_without_being_repeated(url: str) -> None:
    for spelling in (application_url, alembic_url, dagster_url, redacted):
        with pytest.raises(ConfigurationError) as caught:
            spelling(url)
        assert caught.value.error_code == "database_url_invalid"
        assert "s3cret" not in f"{caught.value.message} {caught.value.next_action}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgres://{REST}", "postgresql://alice@db.example:5433/frames?sslmode=require"),
        ("postgresql://h/d?password=s3cret&sslpassword=s3cret", "postgresql://h/d"),
        ("postgresql://:s3cret@h/d", "postgresql://h/d"),
        ("postgresql://u@/d?host=/run/x", "postgresql://u@/d?host=/run/x"),
    ],
)
def test_what_is_shown_holds_no_secret(url: str, shown: str) -> None:
    assert redacted(url) == shown
