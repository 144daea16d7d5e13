"""The fixtures of tests/conftest.py, which every other test leans on."""

from __future__ import annotations

import sqlite3

import psycopg

from onerow.testing import Server


def _is_empty(url: str) -> bool:
    if url.startswith("sqlite:///"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return file.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        finally:
            file.close()
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        return connection.execute(query).fetchone() == (0,)


def test_each_test_has_a_database_of_its_own(db_url: str) -> None:
    """On either engine it is empty."""
    assert _is_empty(db_url)


def test_every_engine_and_server_is_used(every_url: str) -> None:
    """The conformance suite runs on each."""
    assert _is_empty(every_url)


def test_the_server_behind_the_address_is_at_hand(pg_server: Server, pg_url: str) -> None:
    """For what no address can do."""
    with psycopg.connect(pg_url) as connection:
        assert pg_server.url_of(connection.info.dbname) == pg_url
