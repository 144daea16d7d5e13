"""A pooler in transaction mode: clients share server sessions, and keep one for a transaction.

It speaks as much of PostgreSQL's protocol as it must (manual §55): it answers the start of a
session by itself, and lets a server session go when the server says that no transaction is open.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import sqlalchemy as sa

_SSL, _GSS = 80877103, 80877104


class _Wire:
    """Messages: a letter, a length, a body."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def message(self) -> tuple[bytes, bytes]:
        head = self.exactly(5)
        return head[:1], head + self.exactly(struct.unpack("!I", head[1:])[0] - 4)

    def start(self) -> None:
        """Answer the start of a session, past offers of encryption."""
        while True:
            length, code = struct.unpack("!II", self.exactly(8))
            self.exactly(length - 8)
            if code not in (_SSL, _GSS):
                break
            self.socket.sendall(b"N")
        facts = {
            "server_version": "15.0",
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
        }
        told = b"".join(_packed(b"S", f"{n}\0{v}\0".encode()) for n, v in facts.items())
        self.socket.sendall(_packed(b"R", struct.pack("!I", 0)) + told + _packed(b"Z", b"I"))


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


class _Pooler:
    def __init__(self, url: str, sessions: int, by_turns: bool) -> None:
        self.by_turns = by_turns
        # libpq logs in; its socket is used from then on.
        self.logins = [psycopg.connect(url, sslmode="disable") for _ in range(sessions)]
        self.free = [_Wire(socket.socket(fileno=socket.dup(c.fileno()))) for c in self.logins]
        for wire in self.free:
            wire.socket.setblocking(True)
        self.any = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clients: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.clients.append(client)
                self.threads.append(threading.Thread(target=self._serve, args=(_Wire(client),)))
                self.threads[-1].start()

    def _take(self) -> _Wire:
        with self.any:
            assert self.any.wait_for(lambda: self.free, timeout=10)
            return self.free.pop(0 if self.by_turns else -1)

    def _give(self, server: _Wire) -> None:
        with self.any:
            self.free.append(server)
            self.any.notify()

    def _serve(self, client: _Wire) -> None:
        server: _Wire | None = None
        with suppress(OSError), client.socket:
            client.start()
            while (got := client.message())[0] != b"X":
                server = server or self._take()
                server.socket.sendall(got[1])
                if got[0] in b"QSF" and self._answer(server, client) == b"I":
                    self._give(server)
                    server = None
        if server is not None:
            server.socket.sendall(_packed(b"Q", b"ROLLBACK\0"))
            while server.message()[0] != b"Z":
                pass
            self._give(server)

    def _answer(self, server: _Wire, client: _Wire) -> bytes:
        """Pass the answer on; returns the state of the transaction."""
        while True:
            kind, data = server.message()
            client.socket.sendall(data)
            if kind == b"Z":
                return data[-1:]

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in self.clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        for wire, login in zip(self.free, self.logins, strict=True):
            wire.socket.close()
            login.close()


@contextmanager
def transaction_pooler(url: str, sessions: int = 3, *, by_turns: bool = False) -> Iterator[str]:
    """The address of a pooler in front of a database.

    Args:
        sessions: that it has with the server.
        by_turns: it hands them out in turn, and not the one that was used last.
    """
    pooler = _Pooler(url, sessions, by_turns)
    try:
        port = pooler.listener.getsockname()[1]
        address = sa.make_url(url).set(host="127.0.0.1", port=port, query={})
        yield address.render_as_string(hide_password=False)
    finally:
        pooler.close()
