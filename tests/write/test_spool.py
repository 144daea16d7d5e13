"""The spool: durable, in order per key, each write once."""

from __future__ import annotations

import http.server
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from onerow import aio
from onerow.testing import EmbeddedServer, postgres
from onerow.write import Retry, Spool, SpoolBusy, SpoolFull, conflict_of, create_tables, upsert
from onerow.write import spoolfile as files
from onerow.write.errors import SpoolError, UnknownHandler
from onerow.write.notify import SpoolEvent, Webhook
from onerow.write.spool import show, status
from onerow.write.spoolfile import SpoolFiles, encode, read_lines
from tests.write.support import USER, User, async_engine_of, count, engine_of, sessions

AWAY = sessionmaker(sa.create_engine("postgresql+psycopg://x:y@127.0.0.1:1/z"))
QUICK = Retry(attempts=2, budget=1, base=0.001)


def add_user(session: Session, payload: dict[str, Any]) -> None:
    """Counts, so that doing it twice would show."""
    values = {"tenant_id": 1, "slug": payload["slug"], "hits": 1, "title": payload.get("title")}
    update = {"hits": User.hits + 1, "title": payload.get("title")}
    upsert(session, USER, values, update=update)


def insert_user(session: Session, payload: dict[str, Any]) -> None:
    session.add(User(tenant_id=1, slug=payload["slug"]))


HANDLERS = {"add_user": add_user, "insert_user": insert_user}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool with handlers."""
    return Spool(tmp_path / "spool", HANDLERS, retry=QUICK)


@pytest.fixture
def ready(engine: sa.Engine) -> sa.Engine:
    """A database with the table of operations."""
    create_tables(engine)
    return engine


def hits(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return dict(connection.execute(sa.select(User.slug, User.hits)).all())  # type: ignore[arg-type]


def test_applied_when_there(spool: Spool, ready: sa.Engine) -> None:
    """With the database there a write is applied, and nothing is kept."""
    assert spool.submit(sessions(ready), "add_user", {"slug": "a"}) == "applied"
    assert (spool.depth, hits(ready)) == (0, {"a": 1})


def test_spooled_when_away(spool: Spool, ready: sa.Engine) -> None:
    """With the database away writes wait, and are replayed once."""
    for slug in "aab":
        assert spool.submit(AWAY, "add_user", {"slug": slug}, key=slug) == "spooled"
    assert (spool.depth, spool.age >= 0) == (3, True)
    done = spool.replay(sessions(ready))
    assert (done.applied, done.failed, done.left) == (3, 0, 0)
    assert spool.replay(sessions(ready)).applied == 0
    assert (spool.depth, hits(ready)) == (0, {"a": 2, "b": 1})
    assert [f.name for f in spool.files.path.glob("*.jsonl")] == []


def test_one_id_is_applied_once(spool: Spool, ready: sa.Engine) -> None:
    """The same operation submitted again, spooled or not, is done once."""
    spool.submit(AWAY, "add_user", {"slug": "a"}, op_id="op")
    spool.submit(AWAY, "add_user", {"slug": "a"}, op_id="op")
    spool.submit(sessions(ready), "add_user", {"slug": "a"}, op_id="op")
    spool.replay(sessions(ready))
    assert hits(ready) == {"a": 1}


def test_order_per_key(spool: Spool, ready: sa.Engine) -> None:
    """While a write of a key waits later ones wait too; other keys do not."""
    spool.submit(AWAY, "add_user", {"slug": "a", "title": "old"}, key="a")
    assert spool.submit(sessions(ready), "add_user", {"slug": "b"}, key="b") == "applied"
    later = spool.submit(sessions(ready), "add_user", {"slug": "a", "title": "new"}, key="a")
    assert (later, hits(ready)) == ("spooled", {"b": 1})
    spool.replay(sessions(ready))
    with ready.connect() as connection:
        title = connection.execute(sa.select(User.title).where(User.slug == "a")).scalar_one()
    assert title == "new"


def test_conflicts_are_raised(spool: Spool, ready: sa.Engine) -> None:
    """A conflict is the caller's, not the spool's."""
    spool.submit(sessions(ready), "insert_user", {"slug": "a"})
    with pytest.raises(sa.exc.IntegrityError) as caught:
        spool.submit(sessions(ready), "insert_user", {"slug": "a"})
    assert conflict_of(caught.value) is not None
    assert spool.depth == 0


def test_failures_are_put_aside(spool: Spool, ready: sa.Engine) -> None:
    """A write that conflicts on replay is kept with its reason, and the others go on."""
    spool.submit(sessions(ready), "insert_user", {"slug": "a"})
    for slug in "ab":
        spool.submit(AWAY, "insert_user", {"slug": slug}, key="k")
    done = spool.replay(sessions(ready))
    assert (done.applied, done.failed, done.left) == (1, 1, 0)
    (failed,) = spool.failed
    assert failed.record.payload == {"slug": "a"}
    assert "IntegrityError" in failed.reason
    with Session(ready) as session:
        session.execute(sa.delete(User).where(User.slug == "a"))
        session.commit()
    assert spool.requeue_failed() == 1
    assert spool.replay(sessions(ready)).applied == 1
    assert spool.failed == ()


def test_stops_while_away(spool: Spool) -> None:
    """A replay without a database leaves everything as it is."""
    spool.submit(AWAY, "add_user", {"slug": "a"})
    assert spool.replay(AWAY).left == 1
    assert (spool.depth, spool.failed) == (1, ())


def test_unknown_handler(spool: Spool, ready: sa.Engine, tmp_path: Path) -> None:
    """A handler must be known; a spooled write of an unknown one waits, with its key."""
    with pytest.raises(UnknownHandler):
        spool.submit(AWAY, "nobody", {})
    spool.handler("later")(add_user)
    spool.submit(AWAY, "later", {"slug": "a"}, key="a")
    spool.submit(AWAY, "add_user", {"slug": "a"}, key="a")
    spool.submit(AWAY, "add_user", {"slug": "b"}, key="b")
    old = Spool(spool.files.path, HANDLERS)
    assert old.replay(sessions(ready)).left == 2
    assert hits(ready) == {"b": 1}


def test_no_table_of_operations(spool: Spool, engine: sa.Engine) -> None:
    """Without the table of operations a replay says so, and puts nothing aside."""
    assert spool.submit(AWAY, "add_user", {"slug": "a"}) == "spooled"
    with pytest.raises(SpoolError, match="onerow_operations cannot be used"):
        spool.replay(sessions(engine))
    with pytest.raises(SpoolError, match="onerow_operations cannot be used"):
        spool.submit(sessions(engine), "add_user", {"slug": "b"})
    assert (spool.depth, spool.failed, count(engine, User)) == (1, (), 0)


def test_bounded(tmp_path: Path) -> None:
    """A full spool refuses clearly, and accepts nothing by halves."""
    spool = Spool(tmp_path / "s", HANDLERS, max_bytes=600, retry=QUICK)
    payload = {"slug": "x" * 50}
    while status(spool.files.path)["bytes"] < 400:
        spool.submit(AWAY, "add_user", payload)
    before = spool.depth
    with pytest.raises(SpoolFull, match="max_bytes"):
        spool.submit(AWAY, "add_user", {"slug": "x" * 300})
    assert spool.depth == before


def test_payload_must_be_json(spool: Spool) -> None:
    """A payload that could not be kept is refused before anything is tried."""
    with pytest.raises(TypeError):
        spool.submit(AWAY, "add_user", {"slug": object()})


def test_one_replayer(spool: Spool, ready: sa.Engine) -> None:
    """A second replayer is refused while the first is at work."""
    spool.submit(AWAY, "add_user", {"slug": "a"})
    with spool.files.replaying(), pytest.raises(SpoolBusy):
        Spool(spool.files.path, HANDLERS).replay(sessions(ready))


def test_hooks_tell_start_and_end(tmp_path: Path, ready: sa.Engine) -> None:
    """People are told when fallback starts, when a write is put aside, and when it ends."""
    events: list[SpoolEvent] = []

    def broken(_: SpoolEvent) -> None:
        raise RuntimeError("hooks may fail")

    spool = Spool(tmp_path / "s", HANDLERS, notify=(broken, events.append), retry=QUICK)
    spool.submit(sessions(ready), "insert_user", {"slug": "a"})
    for slug in "ab":
        spool.submit(AWAY, "insert_user", {"slug": slug})
    spool.replay(sessions(ready))
    assert [(e.kind, e.depth) for e in events] == [("started", 1), ("failed", 1), ("ended", 0)]


def test_the_start_is_told_once(tmp_path: Path) -> None:
    """However many writes find the database away at the same moment."""
    heard: list[SpoolEvent] = []
    spool = Spool(tmp_path / "spool", HANDLERS, notify=heard.append, retry=QUICK)
    together = threading.Barrier(8)

    def submit(number: int) -> None:
        together.wait()
        spool.submit(AWAY, "add_user", {"slug": str(number)})

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spool.depth == 8
    assert [e.kind for e in heard] == ["started"]


def test_results_are_kept(tmp_path: Path, ready: sa.Engine) -> None:
    """A repeated write is answered like the first one, and does nothing; unasked, nothing is kept."""

    def counted(session: Session, payload: dict[str, Any]) -> dict[str, int]:
        add_user(session, payload)
        return {"users": session.scalar(sa.select(sa.func.count()).select_from(User)) or 0}

    handlers = {"counted": counted}
    spool = Spool(tmp_path / "spool", handlers, retry=QUICK, keep_results=True)
    answers = [spool.submit(sessions(ready), "counted", {"slug": "a"}, op_id="op") for _ in "ab"]
    assert answers == ["applied", "applied"]
    assert [a.repeated for a in answers] == [False, True]
    assert [a.result for a in answers] == [{"users": 1}] * 2
    plain = Spool(tmp_path / "spool", handlers, retry=QUICK)
    assert plain.submit(sessions(ready), "counted", {"slug": "b"}).result is None
    away = spool.submit(AWAY, "counted", {"slug": "c"})
    assert (away, away.result) == ("spooled", None)


def test_webhook_tries_again() -> None:
    """A webhook that is refused once arrives at the second attempt."""
    got: list[Any] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(json.loads(body))
            self.send_response(500 if len(got) == 1 else 200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/", pause=0.01)
    assert hook.send(SpoolEvent("started", 1, "away"))
    server.shutdown()
    thread.join()
    server.server_close()
    assert got == [{"kind": "started", "depth": 1, "reason": "away"}] * 2
    assert not Webhook("http://127.0.0.1:1/", attempts=1).send(SpoolEvent("ended", 0))


def test_status_and_show(spool: Spool, tmp_path: Path) -> None:
    """The spool can be looked at without handlers or a database."""
    spool.submit(AWAY, "add_user", {"slug": "a"}, key="a", op_id="op")
    assert status(spool.files.path)["depth"] == 1
    assert show(spool.files.path)["pending"][0]["op_id"] == "op"
    assert status(tmp_path / "nowhere")["depth"] == 0


# -- the file ------------------------------------------------------------------------------------


def test_torn_tail(tmp_path: Path) -> None:
    """A torn last line is ignored, and the next write comes after the last whole one."""
    store = SpoolFiles(tmp_path, 10_000)
    store.append("1", "n", {}, None)
    (file,) = tmp_path.glob("*.jsonl")
    whole = file.read_bytes()
    for cut in range(1, len(whole)):
        file.write_bytes(whole + whole[:cut])
        assert [r.op_id for r in SpoolFiles(tmp_path, 10_000).contents().pending] == ["1"]
    store.append("2", "n", {}, None)
    assert [r.op_id for r in store.contents().pending] == ["1", "2"]
    assert store.contents().damaged == 0


def test_damage_in_the_middle(tmp_path: Path) -> None:
    """A line that was changed is not applied, and is counted."""
    file = tmp_path / "x.jsonl"
    lines = [encode({"seq": i, "op_id": str(i), "name": "n", "payload": i}) for i in range(3)]
    lines[1] = lines[1].replace(b'"payload":1', b'"payload":7')
    file.write_bytes(b"".join(lines))
    found = SpoolFiles(tmp_path, 10_000).contents()
    assert ([r.op_id for r in found.pending], found.damaged) == (["0", "2"], 1)


def test_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a power cut does to bytes that were not synced, acknowledged writes are there."""
    synced: dict[str, int] = {}
    named: set[str] = set()
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(path):
            named.update(os.listdir(path))
        else:
            synced[os.path.basename(path)] = os.fstat(descriptor).st_size

    monkeypatch.setattr(files.os, "fsync", recording)
    store = SpoolFiles(tmp_path / "s", 1_000_000)
    shuffle = random.Random(5)
    expected: set[str] = set()
    for i in range(60):
        record = store.append(str(i), "n", {"i": i}, None)
        expected.add(str(i))
        if i % 7 == 0:
            store.settle(record)
            expected.discard(str(i))
        if i % 11 == 0:
            store.put_aside(record, "why")
            expected.discard(str(i))
        copy = tmp_path / f"cut{i}"
        copy.mkdir()
        for file in (tmp_path / "s").glob("*.jsonl"):
            if file.name not in named:
                continue
            data = file.read_bytes()
            keep = shuffle.randint(synced.get(file.name, 0), len(data))
            garbage = bytes(shuffle.randrange(256) for _ in range(shuffle.randrange(20)))
            (copy / file.name).write_bytes(data[:keep] + garbage)
        found = SpoolFiles(copy, 1_000_000).contents()
        # What was applied may come back (the operation row knows it); nothing may be missing.
        assert expected <= {r.op_id for r in found.pending}
        assert {f.record.op_id for f in found.failed} == {str(n) for n in range(0, i + 1, 11)}
        SpoolFiles(copy, 1_000_000).append("next", "n", {}, None)
        again = {r.op_id for r in SpoolFiles(copy, 1_000_000).contents().pending}
        assert expected | {"next"} <= again


KILLED = """
import os, signal, sys
from onerow.write import spoolfile
folder, at = sys.argv[1], int(sys.argv[2])
calls = 0
def counted(function):
    def call(*args):
        global calls
        calls += 1
        if calls == at:
            if function is real_write:
                function(args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args)
    return call
real_write = os.write
for name in ("write", "fsync", "ftruncate", "open", "unlink"):
    setattr(spoolfile.os, name, counted(getattr(os, name)))
say = open(sys.argv[3], "a", buffering=1)
store = spoolfile.SpoolFiles(folder, 100000)
for i in range(4):
    record = store.append(f"op{at}-{i}", "n", {"i": i}, None)
    real_write(say.fileno(), f"op{at}-{i}\\n".encode())
    if i == 1:
        store.settle(record)
    if i == 2:
        store.put_aside(record, "why")
"""


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Killed before any system call of a write, every acknowledged write is there, once."""
    folder, said = tmp_path / "s", tmp_path / "said"
    said.touch()
    outcome = -signal.SIGKILL
    for at in range(1, 200):
        command = [sys.executable, "-c", KILLED, str(folder), str(at), str(said)]
        outcome = subprocess.run(command, env={**os.environ}, check=False).returncode
        if outcome == 0:
            break
        assert outcome == -signal.SIGKILL
    else:
        pytest.fail("it was always killed")
    found = SpoolFiles(folder, 10_000_000).contents()
    there = [r.op_id for r in found.pending] + [f.record.op_id for f in found.failed]
    acknowledged = said.read_text().split()
    settled = {op for op in acknowledged if op.endswith("-1")}
    assert set(acknowledged) - settled <= set(there)
    assert len(there) == len(set(there))
    assert found.damaged == 0
    assert at > 8


# -- with a server that goes away ------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A server of our own that may be killed."""
    with postgres() as server:
        yield server


def test_server_killed_in_a_burst(server: EmbeddedServer, tmp_path: Path) -> None:
    """The server is killed in a burst of 200 writes: each is there once in the end."""
    with engine_of(server.url, pool_size=8) as engine:
        create_tables(engine)
        maker = sessions(engine)
        spool = Spool(tmp_path / "s", HANDLERS, retry=QUICK)
        results: dict[str, str] = {}

        def write(part: int) -> None:
            for i in range(part, 200, 8):
                op = f"op{i}"
                results[op] = spool.submit(
                    maker, "add_user", {"slug": f"u{i % 20}"}, key=f"u{i % 20}", op_id=op
                )
                time.sleep(0.002)

        threads = [threading.Thread(target=write, args=(p,)) for p in range(8)]
        for t in threads:
            t.start()
        while len(results) < 60:
            time.sleep(0.001)
        server.kill()
        for t in threads:
            t.join()
        assert len(results) == 200
        assert {"applied", "spooled"} == set(results.values())
        server.restart()
        assert spool.replay(maker).left == 0
        assert spool.replay(maker).applied == 0
        assert hits(engine) == {f"u{i}": 10 for i in range(20)}


def _replay_elsewhere(folder: str, url: str, queue: Any) -> None:
    engine = sa.create_engine(url)
    spool = Spool(folder, HANDLERS, retry=QUICK)
    applied = 0
    deadline = time.monotonic() + 30
    while spool.depth and time.monotonic() < deadline:
        try:
            applied += spool.replay(sessionmaker(engine)).applied
        except SpoolBusy:
            time.sleep(0.005)
    engine.dispose()
    queue.put(applied)


def test_two_processes_replay(spool: Spool, ready: sa.Engine) -> None:
    """Two processes that replay one spool apply each write once."""
    for i in range(60):
        spool.submit(AWAY, "add_user", {"slug": f"u{i % 6}"}, key=f"u{i % 6}")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    url = ready.url.render_as_string(hide_password=False)
    arguments = (str(spool.files.path), url, queue)
    workers = [context.Process(target=_replay_elsewhere, args=arguments) for _ in "12"]
    for w in workers:
        w.start()
    total = sum(queue.get(timeout=60) for _ in workers)
    for w in workers:
        w.join()
    assert (total, hits(ready)) == (60, {f"u{i}": 10 for i in range(6)})


async def test_async_results_are_kept(tmp_path: Path, db_url: str) -> None:
    """As in the synchronous one, over an engine itself."""

    async def told(_connection: Any, payload: str) -> list[str]:
        return [payload]

    engine = async_engine_of(db_url)
    await aio.create_tables(engine)
    spool = aio.Spool(tmp_path / "spool", {"told": told}, keep_results=True)
    for repeated in (False, True):
        answer = await spool.submit(engine, "told", "a", op_id="op")
        assert (answer, answer.result, answer.repeated) == ("applied", ["a"], repeated)
    await engine.dispose()


async def test_async(tmp_path: Path, db_url: str) -> None:
    """The async spool keeps and replays."""
    with engine_of(db_url) as engine:
        create_tables(engine)
        async_engine = async_engine_of(db_url)
        away = async_sessionmaker(async_engine_of("postgresql://x:y@127.0.0.1:1/z"))

        async def add(session: Any, payload: dict[str, Any]) -> None:
            await session.run_sync(add_user, payload)

        spool = aio.Spool(tmp_path / "s", {"add": add}, retry=QUICK)
        assert await spool.submit(away, "add", {"slug": "a"}, key="a") == "spooled"
        maker = async_sessionmaker(async_engine)
        assert await spool.submit(maker, "add", {"slug": "a"}, key="a") == "spooled"
        assert (await spool.replay(maker)).applied == 2
        assert await spool.submit(maker, "add", {"slug": "a"}, key="a") == "applied"
        await async_engine.dispose()
        assert (hits(engine), count(engine, User)) == ({"a": 3}, 1)
        assert read_lines(tmp_path / "nothing") == ([], 0, 0)


def test_many_waiting_writes_stay_cheap(tmp_path: Path) -> None:
    """With thousands of writes waiting another one costs what the first one cost."""
    store = SpoolFiles(tmp_path, 100_000_000)
    lines = [
        encode({"seq": i, "op_id": str(i), "name": "n", "payload": {"i": i}, "key": f"k{i}"})
        for i in range(1, 20_001)
    ]
    (tmp_path / "other.jsonl").write_bytes(b"".join(lines))
    assert store.depth == 20_000
    start = time.perf_counter()
    for i in range(20):
        store.append(f"new{i}", "n", {}, "k")
        assert store.holds("k")
    assert (time.perf_counter() - start) / 20 < 0.05
    assert store.contents().pending[-1].op_id == "new19"
