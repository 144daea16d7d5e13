"""Store and forward: writes go on while the database is away.

A write that cannot reach the database is appended to a durable local file, and replayed in order
when the database is back. Each is applied once: its operation row (`operations.py`) is committed
with its effect, so a replay that was cut off, or a COMMIT of unknown outcome, repeats nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from onerow.write import listeners
from onerow.write.errors import SpoolError, UnknownHandler
from onerow.write.notify import SpoolEvent, tell
from onerow.write.operations import Replay, operation
from onerow.write.retry import Retry, transactional
from onerow.write.spoolfile import Contents, Failed, Record, SpoolFiles
from onerow.write.transient import transient_of

Handler = Callable[[Any, Any], Any]
MAX_BYTES = 64 * 1024 * 1024


class Submitted(str):
    """``applied`` or ``spooled``.

    Attributes:
        result: what the handler returned, with ``keep_results``; of a write that was done before,
            what it returned then.
        repeated: the write was done before.
    """

    result: Any = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: how many were applied, put aside, and still wait."""

    applied: int = 0
    failed: int = 0
    left: int = 0


class ReplayCourse:
    """One replay, seen from outside the database: which write is next, and what became of it."""

    def __init__(self, spool: SpoolBase) -> None:
        self.spool = spool
        self.had = 0
        self.applied = self.failed = 0
        self.seen: set[int] = set()
        self.blocked: set[str] = set()
        self.queue: Iterator[Record] = iter(())

    def begin(self) -> tuple[Callable[..., Any], Record] | Replayed:
        self.had = self.spool.depth
        return self._next()

    def after(
        self, record: Record, error: Exception | None
    ) -> tuple[Callable[..., Any], Record] | Replayed:
        """Note how a write ended; the next one, or the sum when there is none or no database."""
        if error is None:
            self.spool._applied(record)
            self.applied += 1
        elif isinstance(error, SpoolError):
            raise error
        elif transient_of(error) is not None:
            return self._sum()
        else:
            self.spool._aside(record, error)
            self.failed += 1
        return self._next()

    def _next(self) -> tuple[Callable[..., Any], Record] | Replayed:
        """What waited at the start in order, then what has come since."""
        while True:
            for record in self.queue:
                self.seen.add(record.seq)
                handler = self.spool.handlers.get(record.name)
                if handler is not None and record.key not in self.blocked:
                    return handler, record
                # Another release may know this handler; the key waits for it.
                self.blocked |= {record.key} if record.key else set()
            fresh = [r for r in self.spool.files.contents().pending if r.seq not in self.seen]
            if not fresh:
                return self._sum()
            self.queue = iter(fresh)

    def _sum(self) -> Replayed:
        done = Replayed(self.applied, self.failed, self.spool.depth)
        if self.had and not done.left:
            self.spool._ended()
        return done


class SpoolBase:
    """What the sync and the async spool share: files, decisions, notifications."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        handlers: Mapping[str, Callable[..., Any]] | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        notify: Callable[[SpoolEvent], None] | tuple[Callable[[SpoolEvent], None], ...] = (),
        retry: Retry | None = None,
        keep_results: bool = False,
    ) -> None:
        self.files = SpoolFiles(path, max_bytes)
        self.keep_results = keep_results
        self.handlers = dict(handlers or {})
        self.retry = retry or Retry(attempts=3)
        self.hooks = notify if isinstance(notify, tuple) else (notify,)

    def handler(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function under a name."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.handlers[name] = function
            return function

        return register

    @property
    def depth(self) -> int:
        """How many writes wait."""
        return self.files.depth

    @property
    def age(self) -> float:
        """Seconds that the oldest one has waited."""
        return self.files.age

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The writes that were put aside, each with its reason."""
        return self.files.contents().failed

    def holds(self, key: str | None) -> bool:
        """A write of this key waits, so later ones of it have to wait too."""
        return key is not None and self.files.holds(key)

    def requeue_failed(self) -> int:
        """Put the writes that were put aside at the end of the queue again; how many."""
        failed = self.files.contents().failed
        for each in failed:
            r = each.record
            self.files.append(r.op_id, r.name, r.payload, r.key)
        self.files.take_failed()
        return len(failed)

    def discard_failed(self) -> tuple[Failed, ...]:
        """Give up the writes that were put aside, and return them."""
        return self.files.take_failed()

    def _known(self, name: str) -> Callable[..., Any]:
        try:
            return self.handlers[name]
        except KeyError:
            raise UnknownHandler(f"The spool has no handler {name!r}.") from None

    def _keep(self, record: Record, reason: str) -> Submitted:
        before = self.files.depth
        kept = self.files.append(record.op_id, record.name, record.payload, record.key)
        depth = self.files.depth
        listeners.spooled("spooled", depth, self.age)
        # Several can come to an empty spool at once; one of them is the first.
        if before == 0 and self.files.is_first(kept):
            listeners.spooled("started", depth, 0.0)
            tell(self.hooks, SpoolEvent("started", depth, reason))
        return Submitted("spooled")

    def _applied(self, record: Record) -> None:
        self.files.settle(record)
        listeners.spooled("applied", self.depth, self.age)

    def _aside(self, record: Record, exc: Exception) -> None:
        reason = f"{type(exc).__name__}: {exc}".split("\n")[0]
        self.files.put_aside(record, reason)
        listeners.spooled("failed", self.depth, self.age)
        tell(self.hooks, SpoolEvent("failed", self.depth, reason))

    def _ended(self) -> None:
        self.files.tidy()
        listeners.spooled("ended", 0, 0.0)
        tell(self.hooks, SpoolEvent("ended", 0))


def record_of(name: str, payload: Any, key: str | None, op_id: str | None) -> Record:
    """A write as it would be kept; raises TypeError for a payload that JSON cannot hold."""
    json.dumps(payload)
    return Record(0, op_id or uuid.uuid4().hex, name, payload, key)


def applied(result: Any, *, repeated: bool = False) -> Submitted:
    """A write that is done."""
    done = Submitted("applied")
    done.result, done.repeated = result, repeated
    return done


def fingerprint(record: Record) -> str:
    """Tells whether an operation id came back with another content."""
    text = json.dumps([record.name, record.payload], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def operation_row() -> Iterator[None]:
    """A missing table of operations is no fault of the write, which must not be put aside."""
    try:
        yield
    except DBAPIError as exc:
        if transient_of(exc) is not None:
            raise
        raise SpoolError(
            f"The table onerow_operations cannot be used: {str(exc.orig).splitlines()[0]}",
            hint="onerow.write.create_tables(engine) makes it; read and write rights are needed.",
        ) from exc


def unreachable(exc: Exception) -> bool:
    """The only errors for which the spool opens: away, or unknown."""
    transient = transient_of(exc)
    return transient is not None and transient.unreachable


class Spool(SpoolBase):
    """A durable queue for writes while the database is away.

    Args:
        path: a folder on a local disk, shared by the processes of one host.
        handlers: name to ``function(session, payload)``, which does the write.
        max_bytes: how large the folder may grow.
        notify: hook or tuple of hooks, called with a `SpoolEvent`; see `onerow.write.notify`.
        retry: of each write while the database is there.
        keep_results: keep what handlers return (anything that JSON can hold) with the operation,
            so that a repeated write is answered like the first one.
    """

    def submit(
        self,
        sessions: Callable[[], Any] | Engine,
        name: str,
        payload: Any,
        *,
        key: str | None = None,
        op_id: str | None = None,
    ) -> Submitted:
        """Apply a write now, or keep it when the database is away.

        Args:
            sessions: a sessionmaker, or an Engine: handlers get a Connection then.
            name: of the handler.
            payload: for the handler; anything that JSON can hold. Say what is intended ("add 3"),
                not what should result ("now 17"): it may be applied later.
            key: writes of one key are applied in the order they were submitted.
            op_id: the same id is applied once; made up if absent.

        Returns:
            Submitted: ``applied`` or ``spooled``.

        Raises:
            SpoolFull: it could not be kept; it was not accepted.
            UnknownHandler: no such handler.
            Exception: what the handler or the database raised, conflicts among it.
        """
        handler = self._known(name)
        record = record_of(name, payload, key, op_id)
        if self.holds(key):
            return self._keep(record, "writes of this key wait already")
        try:
            return self._apply(sessions, handler, record)
        except Exception as exc:
            if not unreachable(exc):
                raise
            return self._keep(record, str(exc).split("\n")[0])

    def replay(self, sessions: Callable[[], Any] | Engine) -> Replayed:
        """Apply what waits, in order, each once.

        Stops when the database is away again. A write that cannot be applied is put aside, and
        the later ones of its key go on.

        Returns:
            Replayed: `.applied`, `.failed`, `.left`.

        Raises:
            SpoolBusy: another process is replaying.
        """
        course = ReplayCourse(self)
        with self.files.replaying():
            step = course.begin()
            while not isinstance(step, Replayed):
                handler, record = step
                error: Exception | None = None
                try:
                    self._apply(sessions, handler, record)
                except Exception as exc:
                    error = exc
                step = course.after(record, error)
            return step

    def _apply(
        self, sessions: Callable[[], Any] | Engine, handler: Handler, record: Record
    ) -> Submitted:
        def once(session: Any) -> Submitted:
            with operation_row():
                op = operation(session, record.op_id, fingerprint(record))
            if isinstance(op, Replay):
                return applied(op.result, repeated=True)
            result = handler(session, record.payload)
            if self.keep_results:
                op.store(result)
            return applied(result if self.keep_results else None)

        return transactional(sessions, retry=self.retry, name=f"spool:{record.name}")(once)()


def status(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a spool holds, as plain values (for `onerow spool status`)."""
    found = SpoolFiles(path, MAX_BYTES).contents() if Path(path).is_dir() else Contents()
    return {
        "depth": len(found.pending),
        "age": round(max(0.0, time.time() - found.pending[0].at), 3) if found.pending else 0.0,
        "failed": len(found.failed),
        "damaged": found.damaged,
        "bytes": found.size,
    }


def show(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Every write of a spool, as plain values (for `onerow spool show`)."""
    from dataclasses import asdict

    found = SpoolFiles(path, MAX_BYTES).contents() if Path(path).is_dir() else Contents()
    return {
        "pending": [asdict(r) for r in found.pending],
        "failed": [asdict(f) for f in found.failed],
    }
