"""The spool on disk: a folder of JSON lines, each with a checksum, appended and fsynced.

    <id>.jsonl      what one process has spooled; a torn last line was never acknowledged
    settled.jsonl   numbers of records that were applied or put aside
    failed.jsonl    records that cannot be applied, with the reason
    lock            held while a file is changed
    replay.lock     held by the one who replays

No database here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onerow.write.errors import SpoolBusy, SpoolFull

SETTLED, FAILED = "settled.jsonl", "failed.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """One write that waits."""

    seq: int
    op_id: str
    name: str
    payload: Any
    key: str | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A write that cannot be applied, and why."""

    record: Record
    reason: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Contents:
    """What a spool holds at one moment."""

    pending: tuple[Record, ...] = ()
    failed: tuple[Failed, ...] = ()
    damaged: int = 0  #: lines in the middle of a file that are not what was written
    size: int = 0


class Reading:
    """What has been read so far: files only grow, so only what is new is read again."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, int]] = {}  # name: inode, bytes read
        self.pending: dict[int, Record] = {}
        self.settled: set[int] = set()
        self.failed: dict[int, Failed] = {}
        self.keys: Counter[str] = Counter()
        self.damaged = 0

    def follows(self, found: dict[str, tuple[int, int]]) -> bool:
        """The files on the disk are those that were read, or longer ones."""
        for name, (inode, size) in self.files.items():
            now = found.get(name)
            if now is None or now[0] != inode or now[1] < size:
                return False
        return True

    def read(self, path: Path, inode: int) -> None:
        known = self.files.get(path.name, (inode, 0))[1]
        lines, bad, length = read_lines(path, known)
        self.damaged += bad
        self.files[path.name] = (inode, known + length)
        for line in lines:
            self._take(path.name, line)

    def _take(self, name: str, line: dict[str, Any]) -> None:
        if name == SETTLED:
            self._settle(line["seq"])
        elif name == FAILED:
            record = Record(**line["record"])
            self.failed[record.seq] = Failed(record, line["reason"], line["at"])
            self._settle(record.seq)
        elif line["seq"] not in self.settled:
            record = Record(**line)
            self.pending[record.seq] = record
            if record.key is not None:
                self.keys[record.key] += 1

    def _settle(self, seq: int) -> None:
        self.settled.add(seq)
        record = self.pending.pop(seq, None)
        if record is not None and record.key is not None:
            self.keys[record.key] -= 1


class SpoolFiles:
    """The files of one folder. Every change is on the disk when a method returns."""

    def __init__(self, path: str | os.PathLike[str], max_bytes: int) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.path.mkdir(parents=True, exist_ok=True)
        self._own = f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._pid = os.getpid()
        self._read = Reading()
        self._thread = threading.RLock()

    # -- locks ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One change at a time, over all processes."""
        from filelock import FileLock

        with FileLock(self.path / "lock", thread_local=False, is_singleton=False):
            yield

    @contextlib.contextmanager
    def replaying(self) -> Iterator[None]:
        """One replay at a time. Raises SpoolBusy."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "replay.lock", thread_local=False, is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise SpoolBusy(f"Another process is replaying {self.path.name}.") from None
        try:
            yield
        finally:
            lock.release()

    # -- reading ----------------------------------------------------------------------------

    def contents(self) -> Contents:
        """What is there now, in order."""
        with self._reading() as now:
            pending = tuple(now.pending[seq] for seq in sorted(now.pending))
            size = sum(size for _, size in now.files.values())
            return Contents(pending, tuple(now.failed.values()), now.damaged, size)

    @property
    def depth(self) -> int:
        """How many writes wait."""
        with self._reading() as now:
            return len(now.pending)

    @property
    def age(self) -> float:
        """Seconds that the first one has waited."""
        with self._reading() as now:
            first = next(iter(now.pending.values()), None)
            return max(0.0, time.time() - first.at) if first is not None else 0.0

    def holds(self, key: str) -> bool:
        """A write of this key waits."""
        with self._reading() as now:
            return now.keys[key] > 0

    def is_first(self, record: Record) -> bool:
        """No other write waits for longer."""
        with self._reading() as now:
            return min(now.pending, default=record.seq) == record.seq

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Reading]:
        with self._thread:
            found = self._found()
            if not self._read.follows(found):
                self._read = Reading()
            # The marks first: a record is dropped before it would be counted.
            for name in sorted(found, key=lambda n: n not in (SETTLED, FAILED)):
                if found[name] != self._read.files.get(name):
                    self._read.read(self.path / name, found[name][0])
            yield self._read

    def _found(self) -> dict[str, tuple[int, int]]:
        found = {}
        for name in os.listdir(self.path):
            if name.endswith(".jsonl"):
                with contextlib.suppress(FileNotFoundError):
                    stat = os.stat(self.path / name)
                    found[name] = (stat.st_ino, stat.st_size)
        return found

    # -- writing ----------------------------------------------------------------------------

    def append(self, op_id: str, name: str, payload: Any, key: str | None) -> Record:
        """Add a write. When this returns it survives a power cut.

        Raises:
            SpoolFull: the spool would grow over its size.
        """
        with self.locked():
            with self._reading() as now:
                last = next(reversed(now.pending), 0)
            size = sum(size for _, size in self._found().values())
            record = Record(max(time.time_ns(), last + 1), op_id, name, payload, key, time.time())
            line = encode(asdict(record))
            if size + len(line) > self.max_bytes:
                raise SpoolFull(
                    f"The spool holds {size} of {self.max_bytes} bytes.",
                    hint="Bring the database back and replay, or raise max_bytes.",
                )
            self._write(self._file(), line)
        return record

    def _file(self) -> Path:
        """Our own file. A name is never used again: others know how far they have read it."""
        forked = self._pid != os.getpid()
        if forked or not (self.path / self._own).exists():
            self._pid = os.getpid()
            self._own = f"{self._pid}-{secrets.token_hex(4)}.jsonl"
        return self.path / self._own

    def settle(self, record: Record) -> None:
        """This write was applied. If the mark is lost, the operation row still knows."""
        with self.locked():
            self._write(self.path / SETTLED, encode({"seq": record.seq}), sync=False)

    def put_aside(self, record: Record, reason: str) -> None:
        """This write cannot be applied; keep it with its reason."""
        with self.locked():
            entry = {"record": asdict(record), "reason": reason, "at": time.time()}
            self._write(self.path / FAILED, encode(entry))
            self._write(self.path / SETTLED, encode({"seq": record.seq}), sync=False)

    def tidy(self) -> None:
        """Remove the files when nothing in them is pending. Records go before their marks."""
        with self.locked():
            if self.depth:
                return
            for file in self.path.glob("*.jsonl"):
                if file.name not in (SETTLED, FAILED):
                    file.unlink()
            sync_folder(self.path)
            (self.path / SETTLED).unlink(missing_ok=True)
            self._read = Reading()

    def take_failed(self) -> tuple[Failed, ...]:
        """Forget the writes that were put aside, and return them."""
        with self.locked():
            failed = self.contents().failed
            (self.path / FAILED).unlink(missing_ok=True)
            sync_folder(self.path)
            self._read = Reading()
        return failed

    def _write(self, file: Path, line: bytes, *, sync: bool = True) -> None:
        """Append a line after the last whole one; a torn tail is cut off first."""
        new = not file.exists()
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end = whole_length(descriptor)
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            view = memoryview(line)
            while view:
                view = view[os.write(descriptor, view) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new and sync:
            sync_folder(self.path)


def encode(value: dict[str, Any]) -> bytes:
    """A line: checksum, space, JSON, newline."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> dict[str, Any] | None:
    """The value of a whole line, or None when it is not what was written."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        value: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return value


def read_lines(file: Path, start: int = 0) -> tuple[list[dict[str, Any]], int, int]:
    """From a place on: the good lines, how many bad ones, the length of the whole lines."""
    try:
        with open(file, "rb") as stream:
            stream.seek(start)
            data = stream.read()
    except FileNotFoundError:
        return [], 0, 0
    *whole, torn = data.split(b"\n")
    values = [decode(line) for line in whole]
    return [v for v in values if v is not None], values.count(None), len(data) - len(torn)


def whole_length(descriptor: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        block = os.pread(descriptor, end - start, start)
        found = block.rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (fsync(2): the file's own fsync is not enough)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
