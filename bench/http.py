"""Clients that cost little: requests made beforehand, over connections that stay open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes
) -> tuple[int, bytes]:
    """Send a request and read its answer to the end: status and body."""
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next(line for line in lines if line.lower().startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(int(length.split(b":")[1]))


async def _client(host: str, port: int, requests: Sequence[bytes]) -> list[float]:
    reader, writer = await asyncio.open_connection(host, port)
    taken = []
    for sent in requests:
        began = time.perf_counter()
        status, _ = await exchange(reader, writer, sent)
        taken.append(time.perf_counter() - began)
        if status >= 400:
            raise AssertionError(f"answered {status}")
    writer.close()
    await writer.wait_closed()
    return taken


def at_once(
    host: str, port: int, of_clients: Sequence[Sequence[bytes]]
) -> tuple[float, list[float]]:
    """Each client's requests one after the other, all clients at once.

    Returns:
        the seconds that all took, and those of each request.
    """

    async def all_of_them() -> list[list[float]]:
        return await asyncio.gather(*(_client(host, port, r) for r in of_clients))

    began = time.perf_counter()
    taken = asyncio.run(all_of_them())
    return time.perf_counter() - began, [t for each in taken for t in each]


def request(method: str, path: str, body: bytes, headers: str = "") -> bytes:
    """A request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
