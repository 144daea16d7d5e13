"""Processes that begin with everything imported: forks of one that waits for work.

A call of `python -m onerow` spends most of its time on imports, and the command line's tests make
hundreds. A fork is a process of its own all the same: exit code, both streams, environment and
folder are its own. What depends on how the interpreter starts is tested on real starts.
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

SECONDS = 100  #: for one call, on a machine that is busy


class Nursery:
    """Forks processes that run `onerow` with the words that it is given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.socket.settimeout(SECONDS)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                start_new_session=True,
            )

    def call(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        request = json.dumps([list(words), str(folder), dict(environment)])
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            socket.send_fds(self.socket, [request.encode()], [out.fileno(), err.fileno()])
            code = int(self.socket.recv(16))
            return code, _content(out), _content(err)

    def close(self) -> None:
        self.socket.close()
        self.process.wait()


def _content(file: Any) -> str:
    file.seek(0)
    text: bytes = file.read()
    return text.decode()


def serve(connection: socket.socket) -> None:
    """Fork a child for every request, and answer with its exit code."""
    while True:
        request, fds, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        if not request:
            return
        child = os.fork()
        if child == 0:
            connection.close()
            _work(*json.loads(request), *fds)
        for fd in fds:
            os.close(fd)
        _, status = os.waitpid(child, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _work(words: list[str], folder: str, environment: dict[str, str], out: int, err: int) -> None:
    """Be `onerow WORDS`."""
    from onerow.cli import run

    code = 99
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for fd, wanted in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(fd, wanted)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8")
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8")
        code = run(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


#: What calls use; importing it opens no connection and starts no thread.
_IMPORTED = (
    "onerow.cli.apply",
    "onerow.cli.check",
    "onerow.cli.plan",
    "onerow.cli.undo",
    "onerow.cli.verify",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)

if __name__ == "__main__":
    for module in _IMPORTED:
        import_module(module)
    serve(socket.socket(fileno=int(sys.argv[1])))
