"""Runs verbs of onerow in processes of their own that kill themselves at one moment.

One JSON object a line on standard input: `verb`, `url`, `rules` (a file), `moment`, `fragment`, `times`,
`say` (a file for what it says; the moments that have passed go to the same name with `.moments`). It is answered
by a line with the exit code, negative for a signal. A process is forked for each, so that everything
is imported once.

A moment is the end of a statement that writes, and before and after the commit of what it wrote.
After a statement that only reads, nothing is different from the moment before.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from onerow import api
from onerow.session import Limits

#: Several batches even in a small table, and as many on a slow machine as on a fast one.
SMALL = Limits(batch_rows=6, least_batch_rows=6, most_batch_rows=6)
_COMMENTS = re.compile(r"\s*(--[^\n]*\n\s*)*")
_READS = re.compile(
    r"(SELECT\b(?!.*\bFOR (NO KEY )?UPDATE\b)|SHOW\b|SET\b|PRAGMA\b|BEGIN\b"
    r"|WITH\b(?!.*\b(INSERT|UPDATE|DELETE)\b))",
    re.IGNORECASE | re.DOTALL,
)


def writes(sql: str) -> bool:
    """Whether it changes rows or definitions, or locks rows."""
    return _READS.match(_COMMENTS.sub("", sql, count=1)) is None


class Clock:
    """Counts moments, and ends the process at one of them (never at 0).

    Args:
        last: number of the moment at which the process dies.
        fragment: of a statement; the process dies at the commit of the one with which it has seen
            `times` of them. Empty: never.
        file: gets what happened at each moment.
    """

    def __init__(self, last: int, fragment: str, times: int, file: str) -> None:
        self.last, self.now = last, 0
        self.fragment, self.left = fragment, times
        self.file = open(file, "w")  # noqa: SIM115
        self.wrote = False

    def tick(self, what: str) -> None:
        # Who watches from a thread of its own writes nothing, and comes as it likes.
        if threading.current_thread() is not threading.main_thread():
            return
        self.now += 1
        print(self.now, " ".join(what.split())[:200], file=self.file, flush=True)
        if self.fragment and self.fragment in what:
            self.left -= 1
        enough = self.fragment and self.left <= 0 and what == "after COMMIT"
        if self.now == self.last or enough:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, _c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if writes(sql):
            self.wrote = True
            self.tick(sql)

    def commit(self, plain: Callable[..., None]) -> Callable[..., None]:
        def commit(dialect: Any, connection: Any) -> None:
            wrote, self.wrote = self.wrote, False
            if wrote:
                self.tick("before COMMIT")
            plain(dialect, connection)
            if wrote:
                self.tick("after COMMIT")

        return commit


def work(verb: str, url: str, rules: str) -> int:
    """Do it in small batches. Returns the exit code."""
    if verb == "prune":
        print(*api.archive_prune(url), flush=True)
        return 0
    if verb == "apply":
        outcome = api.apply(url, rules, limits=SMALL)
    elif verb == "undo --archive-newer":
        outcome = api.undo(url, archive_newer=True, limits=SMALL)
    else:
        outcome = api.undo(url, limits=SMALL)
    print(outcome.status, outcome.message, flush=True)
    return outcome.exit_code


def child(order: dict[str, Any]) -> int:
    """What the forked process does."""
    clock = Clock(order["moment"], order["fragment"], order["times"], order["say"] + ".moments")
    said = os.open(order["say"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    event.listen(Engine, "after_cursor_execute", clock.statement)
    DefaultDialect.do_commit = clock.commit(DefaultDialect.do_commit)  # type: ignore[method-assign]
    return work(order["verb"], order["url"], order["rules"])


def finished(order: dict[str, Any]) -> int:
    try:
        return child(order)
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve() -> None:
    """Answer orders until there are none."""
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            # Past all that the parent would clean up: it is the parent's.
            os._exit(finished(order))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
