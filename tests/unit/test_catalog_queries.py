"""The catalog's SQL files, and what is made of CHECKs: nothing here needs a server."""

from __future__ import annotations

from importlib.resources import files

import pytest
from sqlalchemy import text

from onerow.dialects.nulls import never_null
from onerow.dialects.queries import load

QUERIES = [
    (dialect, file.name)
    for dialect in ("postgresql", "sqlite")
    for file in (files("onerow.dialects") / dialect / "queries").iterdir()
]
PARAMETERS = {"relations", "whole", "schemas", "names", "name"}


@pytest.mark.parametrize(("dialect", "file"), QUERIES)
def test_a_query_begins_with_a_sentence(dialect: str, file: str) -> None:
    """One, that says what it asks."""
    first, second = _text_of(dialect, file).splitlines()[:2]
    assert first.startswith("-- ")
    assert first.endswith(".")
    assert not second.startswith("--")
    assert len(first) <= 100


@pytest.mark.parametrize(("dialect", "file"), QUERIES)
def test_a_query_has_no_parameter_by_accident(dialect: str, file: str) -> None:
    """A colon before a word makes one, also in strings and comments."""
    assert set(text(_text_of(dialect, file))._bindparams) <= PARAMETERS


@pytest.mark.parametrize(("dialect", "file"), QUERIES)
def test_a_variant_has_its_original(dialect: str, file: str) -> None:
    """For the versions after it, and it is about the same thing."""
    name, at, version = file.removesuffix(".sql").partition("@")
    assert load(dialect, name)
    if at:
        limit = tuple(map(int, version.split(".")))
        assert load(dialect, name, limit) == _text_of(dialect, file)


def _text_of(dialect: str, file: str) -> str:
    return (files("onerow.dialects") / dialect / "queries" / file).read_text("utf-8")


@pytest.mark.parametrize(
    ("version", "old"), [((14,), True), ((14, 3), True), ((15,), False), ((18, 6), False)]
)
def test_the_variant_of_a_major_version(version: tuple[int, ...], old: bool) -> None:
    """@14 is for 14 and older, whatever the minor version."""
    found = load("postgresql", "publications", version)
    assert ("pg_publication_namespace" not in found) is old


@pytest.mark.parametrize(
    ("version", "old"), [((3, 35, 0), True), ((3, 36, 9), True), ((3, 37, 0), False)]
)
def test_the_variant_of_a_minor_version(version: tuple[int, ...], old: bool) -> None:
    """SQLite has pragma_table_list from 3.37."""
    assert ("pragma_table_list" not in load("sqlite", "kinds", version)) is old


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
@pytest.mark.parametrize(
    ("check", "columns"),
    [
        ("a > 0", set()),
        ("a IS NULL", set()),
        ("a IS NOT NULL OR b > 0", set()),
        ("NOT (a IS NOT NULL)", set()),
        ("coalesce(a, b) IS NOT NULL", set()),
        ("(a IS NOT NULL) = b", set()),
        ("a <> 'x IS NOT NULL'", set()),
        ("this is not SQL IS NOT NULL (", set()),
        ("a IS NOT NULL", {"a"}),
        ("((a IS NOT NULL) AND (b > 0 AND c IS NOT NULL))", {"a", "c"}),
        ("NOT a IS NULL", {"a"}),
        ('"A ""b" IS NOT NULL', {'A "b'}),
    ],
)
def test_columns_that_a_check_keeps_null_out_of(
    dialect: str, check: str, columns: set[str]
) -> None:
    """Only where nothing else can make the check pass."""
    assert never_null(check, dialect) == columns
