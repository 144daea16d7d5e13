"""A server process: it says where it listens, and ends in order when it is told to."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import uvicorn
from fastapi import FastAPI

from systems.shared.address import open_engine
from systems.shared.errors import SystemFailure
from systems.shared.web.application import THREADS, Serving
from systems.shared.web.tokens import LEAST_BYTES, Tokens

GRACE = 10  #: seconds that requests at work have when the server ends
QUEUE = 1024  #: connections that wait to be accepted

Make = Callable[[Serving], FastAPI]


def serve(make: Make, url: str, host: str, port: int, naive: bool, signed: bool) -> None:
    """Serve an application until SIGTERM or Ctrl-C.

    Args:
        make: makes it; raises SystemRefusal when the database is not one for it.
        port: 0 for any free one.
        signed: one has to sign in, so there must be a secret.

    Raises:
        SystemFailure: no secret, no database, or the port is taken.
    """
    tokens = Tokens.from_environment() if signed else Tokens(secrets.token_hex(LEAST_BYTES))
    engine = open_engine(url, connections=THREADS)
    try:
        listen(make(Serving(engine=engine, tokens=tokens, naive=naive)), host, port)
    finally:
        engine.dispose()


@contextmanager
def in_thread(app: FastAPI) -> Iterator[str]:
    """An application behind a real server in this process, for stories and tests; its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0), backlog=QUEUE) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(GRACE + 10)


def listen(app: FastAPI, host: str, port: int) -> None:
    """Serve any application until SIGTERM or Ctrl-C.

    Raises:
        SystemFailure: the port is taken.
    """
    with _listener(host, port) as listener:
        _log_to_stderr()
        _run(app, listener)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=QUEUE)
    except OSError as error:
        said = error.strerror or error
        raise SystemFailure(f"Cannot listen on {host}, port {port}: {said}.") from error


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Each conflict and each start would be a line; the metrics count them.
    for name in ("onerow.write", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _run(app: FastAPI, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE,
    )
    # uvicorn raises the signal that ended it once more, which would be the end without a code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says where it listens, on standard output, as soon as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            click.echo(f"Listening on http://{shown}:{port}")
            sys.stdout.flush()
