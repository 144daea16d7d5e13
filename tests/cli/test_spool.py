"""`onerow spool`: looking at a spool and replaying it, as another process than the application."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from onerow.write import Spool
from onerow.write.spoolfile import FAILED, SpoolFiles
from tests.cli.shell import Shell
from tests.support.sandbox import Sandbox

HANDLERS = """
import asyncio
import sqlalchemy as sa
from onerow import Spool, aio

def add(session, payload):
    session.execute(sa.text("INSERT INTO counted VALUES (:n)"), {"n": payload["n"]})

async def add_async(session, payload):
    await session.execute(sa.text("INSERT INTO counted VALUES (:n)"), {"n": payload["n"]})

HANDLERS = {"add": add}
ASYNC = {"add": add_async}
told = []
spool = Spool("elsewhere", handlers=HANDLERS, notify=lambda e: print(e.kind, file=open("told", "a")))
"""


@pytest.fixture
def spool(shell: Shell) -> Spool:
    """Three writes that wait, in the folder `spool` beside the application's module."""
    (shell.folder / "shop.py").write_text(HANDLERS)
    spool = Spool(shell.folder / "spool")
    for n in (1, 2, 3):
        spool.files.append(f"op-{n}", "add", {"n": n}, "k")
    return spool


@pytest.fixture
def target(db_url: str) -> Sandbox:
    """A database with a table that refuses a number twice."""
    box = Sandbox(db_url)
    box.execute("CREATE TABLE counted (n integer PRIMARY KEY);")
    return box


def numbers(box: Sandbox) -> list[int]:
    engine = sa.create_engine(box.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = list(connection.execute(sa.text("SELECT n FROM counted ORDER BY n")).scalars())
    engine.dispose()
    return found


def test_status(shell: Shell, spool: Spool) -> None:
    """Depth and age are told without database or application; nothing is changed."""
    before = sorted((p.name, p.read_bytes()) for p in spool.files.path.iterdir())
    call = shell("spool", "status", "spool", "--json")
    assert (call.code, call.json["schema"], call.json["depth"], call.json["failed"]) == (0, 1, 3, 0)
    assert "Waiting: 3 writes, the oldest for" in shell("spool", "status", "spool").out
    assert before == sorted((p.name, p.read_bytes()) for p in spool.files.path.iterdir())


def test_status_of_what_needs_a_person(shell: Shell, spool: Spool) -> None:
    """Writes that were put aside are findings: exit code 1."""
    first = spool.files.contents().pending[0]
    spool.files.put_aside(first, "IntegrityError: no")
    call = shell("spool", "status", "spool")
    assert (call.code, "Put aside: 1 write." in call.out) == (1, True)
    shown = shell("spool", "show", "spool")
    assert (shown.code, "IntegrityError: no" in shown.out) == (0, True)


def test_show(shell: Shell, spool: Spool) -> None:
    """Every write is shown in its order."""
    document = shell("spool", "show", "spool", "--json").json
    assert [(r["op_id"], r["payload"]) for r in document["pending"]] == [
        (f"op-{n}", {"n": n}) for n in (1, 2, 3)
    ]
    out = shell("spool", "show", "spool").out
    assert out.index("op-1") < out.index("op-3")
    assert shell("spool", "show", "spool").words.count("add k") == 3


@pytest.mark.parametrize("handlers", ["shop:HANDLERS", "shop:spool", "shop:ASYNC"])
def test_replay(shell: Shell, spool: Spool, target: Sandbox, handlers: str) -> None:
    """What waits is applied once, by functions, by an application's Spool, by coroutines."""
    words = ("spool", "replay", "spool", "--handlers", handlers, "--url", target.url)
    call = shell(*words, "--json")
    assert (call.code, call.json) == (0, {"schema": 1, "applied": 3, "failed": 0, "left": 0})
    assert numbers(target) == [1, 2, 3]
    assert shell(*words).words == "Applied: 0 writes."
    assert numbers(target) == [1, 2, 3]
    assert (shell.folder / "told").exists() == (handlers == "shop:spool")


def test_replay_puts_aside(shell: Shell, spool: Spool, target: Sandbox) -> None:
    """A write that is refused is put aside, the others applied: exit code 1."""
    target.execute("INSERT INTO counted VALUES (2);")
    words = ("spool", "replay", "spool", "--handlers", "shop:HANDLERS", "--url", target.url)
    call = shell(*words)
    assert (call.code, "Put aside: 1 write" in call.out) == (1, True)
    assert numbers(target) == [1, 2, 3]
    assert [f.record.op_id for f in spool.failed] == ["op-2"]


def test_database_away(shell: Shell, spool: Spool) -> None:
    """Without a database nothing is touched, and exit code 2 says so."""
    url = "postgresql://nobody:verysecret@127.0.0.1:1/nothing"
    shell.secrets.append("verysecret")
    call = shell("spool", "replay", "spool", "--handlers", "shop:HANDLERS", "--url", url, "--json")
    assert (call.code, call.error["code"]) == (2, "connection_failed")
    assert spool.depth == 3


def test_busy(shell: Shell, spool: Spool, target: Sandbox) -> None:
    """While another process replays it is refused: exit code 1."""
    words = ("spool", "replay", "spool", "--handlers", "shop:HANDLERS", "--url", target.url)
    with spool.files.replaying():
        call = shell(*words, "--json")
    assert (call.code, call.error["code"]) == (1, "spool_busy")
    assert spool.depth == 3


@pytest.mark.parametrize(
    ("handlers", "message"),
    [
        ("shop", "does not read MODULE:ATTRIBUTE"),
        ("shop:nothing", "has no 'nothing'"),
        ("nowhere:x", "cannot be imported: ModuleNotFoundError"),
        ("shop:told", "neither a Spool nor a mapping"),
    ],
)
def test_bad_handlers(
    shell: Shell, spool: Spool, sqlite_url: str, handlers: str, message: str
) -> None:
    """Handlers that cannot be found are one sentence, and nothing was applied."""
    call = shell("spool", "replay", "spool", "--handlers", handlers, "--url", sqlite_url)
    assert call.code == 2
    assert message in call.said
    assert spool.depth == 3


def test_bad_folder(shell: Shell) -> None:
    """A folder that is not there is not made by looking for it."""
    for words in (("status", "no"), ("show", "no"), ("replay", "no", "--handlers", "a:b")):
        call = shell("spool", *words)
        assert (call.code, "'no' does not exist" in call.said) == (2, True)
    assert not (shell.folder / "no").exists()


def test_global_options_anywhere(shell: Shell, spool: Spool) -> None:
    """--json may stand before `spool`, after it, and after its verb."""
    told = [
        shell("--json", "spool", "status", "spool").json["depth"],
        shell("spool", "--json", "status", "spool").json["depth"],
        shell("spool", "status", "spool", "--json").json["depth"],
    ]
    assert told == [3, 3, 3]
    assert shell("--quiet", "spool", "status", "spool").out == ""


def test_help(shell: Shell) -> None:
    """Alone it tells its verbs; each of them shows an example."""
    assert {"replay", "show", "status"} <= set(shell("spool").words.split())
    for name in ("status", "show", "replay"):
        assert f"onerow spool {name} " in shell("spool", name, "--help").out


def test_damaged(shell: Shell, spool: Spool) -> None:
    """A line that is not what was written is counted and needs a person."""
    file = next(p for p in spool.files.path.glob("*.jsonl") if p.name != FAILED)
    file.write_bytes(file.read_bytes().replace(b'"n":2', b'"n":9'))
    call = shell("spool", "status", "spool", "--json")
    assert (call.code, call.json["damaged"], call.json["depth"]) == (1, 1, 2)
    assert SpoolFiles(file.parent, 1).contents().damaged == 1
