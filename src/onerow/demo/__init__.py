"""One story from failure to proof, on databases of our own that are gone at the end.

A training calendar (`planner`) with a season's rows (`season`) gets duplicate rows by two
concurrent writers; `story` checks, plans, applies, verifies, undoes and applies again.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TextIO

import sqlalchemy as sa
from rich.console import Console

from onerow import __version__
from onerow.demo.planner import Planner
from onerow.demo.screen import Screen
from onerow.demo.story import Story, Told
from onerow.errors import OnerowError
from onerow.testing import NoServer, ServerFailed, postgres

EngineName = Literal["sqlite", "postgresql", "all"]

__all__ = ["EngineName", "Told", "demo"]


def demo(
    engine: EngineName = "all",
    *,
    out: TextIO | Console,
    summary: TextIO | None = None,
    keep: bool = False,
) -> int:
    """Tell the story, on an embedded PostgreSQL and on SQLite.

    Args:
        engine: where to tell it; on both by default.
        out: what a person reads: a stream or rich's Console (colour on a terminal only).
        summary: where a JSON document goes at the end, if anywhere:
            ``{"schema": 1, "stories": [{"engine", "ok", "duplicates_before", "archived",
            "writes_during", "failed_writes", "undo_exact", "seconds"}…],
            "skipped": [{"engine", "reason"}…]}``. For ``--json`` it is standard output, and `out`
            is standard error.
        keep: leave the SQLite file, and the PostgreSQL server until Enter is pressed.

    Returns:
        int: the exit code: 0 told to the end; 1 something was not as the story says; 2 could not
        run, 0 all the same when only the embedded PostgreSQL is not installed and all engines
        were asked for; 130 interrupted.
    """
    with _interruptible() as interrupted:
        try:
            return _Demo(out, keep, interrupted).run(engine, summary)
        except KeyboardInterrupt:
            Screen(out).say("Interrupted; nothing is left behind.")
            return 130


class _Demo:
    def __init__(self, out: TextIO | Console, keep: bool, interrupted: Callable[[], bool]) -> None:
        self.out, self.keep, self.interrupted = out, keep, interrupted
        self.stories: list[Told] = []
        self.skipped: list[dict[str, str]] = []

    def run(self, engine: EngineName, summary: TextIO | None) -> int:
        Screen(self.out).title(f"onerow {__version__}: one row per key, in a live database")
        asked = ("postgresql", "sqlite") if engine == "all" else (engine,)
        codes = [self._tell(name, needed=engine != "all") for name in asked]
        self._conclude()
        if summary is not None:
            stories = [asdict(s) for s in self.stories]
            document = {"schema": 1, "stories": stories, "skipped": self.skipped}
            print(json.dumps(document, indent=2), file=summary)
        return max(codes)

    def _tell(self, name: str, *, needed: bool) -> int:
        screen = Screen(self.out, explain=not self.stories)
        tell = self._postgresql if name == "postgresql" else self._sqlite
        try:
            told = tell(screen)
        except NoServer as error:
            self._skip(name, error.message, error.hint)
            return 2 if needed else 0
        except (OnerowError, ServerFailed) as error:
            self._skip(name, str(error))
            return 2
        if self.interrupted():  # apply and undo end in order themselves, and tell
            raise KeyboardInterrupt
        self.stories.append(told)
        return 0 if told.ok else 1

    def _skip(self, name: str, reason: str, hint: str = "") -> None:
        self.skipped.append({"engine": name, "reason": reason})
        screen = Screen(self.out)
        screen.console.print()
        screen.say(f"{name}: {reason} {hint}".strip(), "bold yellow")

    def _postgresql(self, screen: Screen) -> Told:
        with ExitStack() as stack:
            with screen.console.status("Starting PostgreSQL ..."):
                server = stack.enter_context(postgres())
            folder = stack.enter_context(_folder(keep=False))
            server.create_database("planner")
            screen.console.print()
            screen.title(f"PostgreSQL {server.version}")
            screen.say(
                "A server of our own in a temporary directory; it is gone at the end.", "dim"
            )
            # Through the socket there is no password in the address.
            url = server.socket_url.replace("/postgres?", "/planner?")
            told = _tell("postgresql", url, folder, screen)
            if self.keep:
                _leave(screen, "The server runs until you press Enter:", url, folder)
                sys.stdin.readline()
            return told

    def _sqlite(self, screen: Screen) -> Told:
        screen.console.print()
        with _folder(keep=self.keep) as folder:
            file = folder / "planner.sqlite3"
            file.touch()
            screen.title(f"SQLite {sqlite3.sqlite_version}")
            where = "it stays where it is" if self.keep else "it is gone at the end"
            screen.say(f"A file in a temporary directory; {where}.", "dim")
            told = _tell("sqlite", f"sqlite:///{file}", folder, screen)
            if self.keep:
                _leave(screen, "The database stays:", f"sqlite:///{file}", folder)
            return told

    def _conclude(self) -> None:
        screen = Screen(self.out)
        screen.console.print()
        for told in self.stories:
            sentence = (
                f"{told.engine}: {told.duplicates_before} rows too many, {told.archived} archived"
                f" and removed, {told.writes_during} writes meanwhile, {told.failed_writes} failed,"
                f" undo {'exact' if told.undo_exact else 'not reached'}, {told.seconds:.1f} s"
            )
            (screen.proven if told.ok else screen.failed)(sentence)


def _tell(name: str, url: str, folder: Path, screen: Screen) -> Told:
    address = sa.make_url(url)
    if name == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    planner = Planner(address)
    try:
        return Story(name, url, planner, folder / "onerow.toml", screen).tell()
    finally:
        planner.close()


def _leave(screen: Screen, sentence: str, url: str, folder: Path) -> None:
    screen.console.print()
    screen.say(sentence)
    screen.code(f"onerow status --url {shlex.quote(url)}")
    screen.code(f"onerow verify --url {shlex.quote(url)} --rules {folder / 'onerow.toml'}")


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="onerow-demo-"))
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: the server stops, the files go."""
    came: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    # Python lets only the main thread set handlers.
    main = threading.current_thread() is threading.main_thread()
    names = [n for n in ("SIGINT", "SIGTERM", "SIGHUP") if main and hasattr(signal, n)]
    before = {n: signal.signal(getattr(signal, n), interrupt) for n in names}
    try:
        yield lambda: bool(came)
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
