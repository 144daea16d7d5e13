"""An application at work: writes at fixed times, whether the last one is back or not.

So a stall is seen at its full length: whoever comes while it lasts waits for the rest of it. Run as
`python -m bench.clients URL ROWS`; it ends with its standard input. `at_work` starts it.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from bench.common import TABLE

CLIENTS, RATE = 4, 400  #: of all clients, writes per second
WARM_UP = 1.0  #: seconds until every client is connected and its plan is made


@dataclass(slots=True)
class Load:
    """Writes: when each was due, and when it was done, by the clock of all processes."""

    process: subprocess.Popen[str]
    writes: list[tuple[float, float]] = field(default_factory=list)

    def stop(self) -> None:
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise SystemExit("A client of the application failed: see above.")
        for line in out.splitlines():
            due, done = line.split()
            self.writes.append((float(due), float(done)))

    def p99(self, began: float, ended: float) -> float:
        """Milliseconds that writes due in a time took, but for one in a hundred."""
        found = [1000 * (done - due) for due, done in self.writes if began <= due < ended]
        return statistics.quantiles(found, n=100)[-1]


@contextmanager
def at_work(url: str, rows: int) -> Iterator[Load]:
    """Clients that update rows by their primary key; ask the load when they have stopped."""
    command = [sys.executable, "-m", "bench.clients", url, str(rows)]
    pipe = subprocess.PIPE
    load = Load(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
    try:
        time.sleep(2 * WARM_UP)
        yield load
    finally:
        load.stop()


def _client(
    url: str, rows: int, number: int, stop: threading.Event, out: list[tuple[float, float]]
) -> None:
    dice = random.Random(number)
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        due = time.time() + WARM_UP + number / RATE
        while not stop.is_set():
            time.sleep(max(0.0, due - time.time()))
            connection.execute(
                f"UPDATE {TABLE} SET notes = %s WHERE id = %s",  # type: ignore[arg-type]
                (f"{due:.6f}", dice.randint(1, rows)),
            )
            out.append((due, time.time()))
            due += CLIENTS / RATE


def _main(url: str, rows: int) -> None:
    stop = threading.Event()
    written: list[list[tuple[float, float]]] = [[] for _ in range(CLIENTS)]
    threads = [
        threading.Thread(target=_client, args=(url, rows, n, stop, out))
        for n, out in enumerate(written)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    if not all(written):
        sys.exit(1)
    for due, done in (w for out in written for w in out):
        print(due, done)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
