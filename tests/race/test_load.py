"""The load mode: its bounds, what it refuses, and the race inside one statement that it finds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from onerow.cli import run
from onerow.errors import InputError, Refused
from onerow.race import load
from onerow.race.scenario import is_loopback, read_scenario

metadata = sa.MetaData()
signups = sa.Table(
    "signups", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.Text)
)


@contextmanager
def served(engine: Engine, *, broken: bool = False) -> Iterator[str]:
    """A server that looks, and inserts if there is none; `broken` answers 500."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with engine.begin() as connection:
                same = signups.c.email == body["email"]
                if connection.execute(sa.select(signups.c.id).where(same)).first() is None:
                    connection.execute(signups.insert().values(email=body["email"]))
            self.send_response(500 if broken else 201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def scenario(url: str, pg: Engine, **more: Any) -> dict[str, Any]:
    return {
        "url": url,
        "clients": 6,
        "rounds": 15,
        "stagger_ms": [0, 1],
        "request": [{"path": "/signups", "json": {"email": "{key}"}}],
        "check": {
            "database": pg.url.render_as_string(hide_password=False),
            "no_rows": "SELECT email FROM signups GROUP BY email HAVING count(*) > 1",
        },
        **more,
    }


@pytest.fixture
def engine(pg: Engine) -> Iterator[Engine]:
    """Connections enough for all clients."""
    made = sa.create_engine(pg.url, pool_size=10)
    metadata.create_all(made)
    with made.begin() as connection:
        connection.execute(signups.delete())
    yield made
    made.dispose()


def test_different_keys_hold(engine: Engine) -> None:
    """Clients that each use a key of their own break nothing; that is said to prove nothing."""
    with served(engine) as url:
        result = load(scenario(url, engine, keys=6, rounds=5))
    assert (result.verdict, result.requests) == ("holds", 60)
    assert result.answers == {201: 60}
    assert "proves nothing" in result.reason


def test_same_key_is_found_broken(engine: Engine) -> None:
    """Clients that are released together on one key leave duplicates, which the check finds."""
    with served(engine) as url:
        result = load(scenario(url, engine))
    assert result.verdict == "broken"
    assert result.by_stagger.keys() == {0, 1}
    assert result.latency["p50"] <= result.latency["p99"] <= result.latency["max"]


def test_odd_answers_are_told(engine: Engine) -> None:
    """A status that the scenario does not expect is `raised`; no answer at all is no pass."""
    with served(engine, broken=True) as url:
        result = load(scenario(url, engine, keys=6, rounds=2))
    assert (result.verdict, result.reason) == ("raised", "24 answers had the status 500")
    gone = load(scenario(url, engine, keys=6, rounds=2))
    assert gone.verdict == "inconclusive"


FILE = """
url = "{url}"
clients = 6
rounds = {rounds}
stagger_ms = [0]
keys = {keys}
[[request]]
path = "/signups"
json = {{ email = "{{key}}" }}
[check]
database = "${{RACE_TEST_DATABASE}}"
rules = "{rules}"
"""
RULES = '[[key]]\ntable = "signups"\ncolumns = ["email"]\n'


def test_command(
    engine: Engine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`onerow race --http` exits 0 when nothing was seen and 1 when a rule is broken."""
    address = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("RACE_TEST_DATABASE", address)
    file, rules = tmp_path / "load.toml", tmp_path / "onerow.toml"
    rules.write_text(RULES)
    with served(engine) as url:
        for keys, rounds, code in ((6, 2, 0), (1, 15, 1)):
            file.write_text(FILE.format(url=url, keys=keys, rounds=rounds, rules=rules))
            assert run(["race", "--http", str(file), "--json"]) == code
            said = capsys.readouterr()
            told = json.loads(said.out)["load"]
            assert told["answers"] == {"201": 6 * rounds}
            assert told["latency_ms"].keys() == {"p50", "p95", "p99", "max"}
            assert engine.url.password
            assert engine.url.password not in said.out + said.err
    assert told["verdict"] == "broken"
    assert "signups(email) has" in told["reason"]


def test_other_machines_are_refused(engine: Engine) -> None:
    """Nothing is sent to another machine without leave."""
    with pytest.raises(Refused, match=r"example\.org is not this machine"):
        load(scenario("http://example.org", engine))
    for host, answer in {"localhost": True, "::1": True, "127.9.9.9": True, "10.0.0.1": False,
                         "localhost.example.org": False}.items():  # fmt: skip
        assert is_loopback(host) is answer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url = ", "not TOML"),
        ('url = "http://localhost"', "request: field required"),
        ('url = "ftp://localhost"\n[[request]]\npath = "/"', "no http:// or https://"),
        ('url = "http://localhost"\nclient = 3\n[[request]]\npath = "/"', "Did you mean 'clients'"),
        ('url = "http://localhost"\nclients = 900\n[[request]]\npath = "/"', "clients:"),
        ('url = "http://localhost"\nrounds = 9000\n[[request]]\npath = "/"', "more than a load"),
        ('url = "${ONEROW_NOT_THERE}"\n[[request]]\npath = "/"', "no ONEROW_NOT_THERE"),
    ],
)
def test_bad_scenarios(tmp_path: Path, text: str, said: str) -> None:
    """A scenario that cannot be used is refused with the place and the way out."""
    file = tmp_path / "load.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_scenario(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_scenario(tmp_path / "none.toml")
