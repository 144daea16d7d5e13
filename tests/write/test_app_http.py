"""As a user would: a FastAPI application in a process of its own, 64 clients over HTTP, a crash."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from onerow.testing import EmbeddedServer, postgres
from onerow.write import create_tables
from tests.write import shop_app
from tests.write.support import sync_url, with_driver

CLIENTS, EACH = 64, 5


class Clients:
    """Each repeats a request until it is accepted, as clients do."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.statuses: Counter[int] = Counter()
        self.placed: list[int] = []

    async def until(self, path: str, accepted: int, **request: object) -> httpx.Response:
        for _ in range(600):
            try:
                answer = await self.http.post(path, **request)  # type: ignore[arg-type]
            except httpx.TransportError:  # a connection that was kept too long
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code <= accepted:
                return answer
            await asyncio.sleep(0.05)
        raise AssertionError(self.statuses)

    async def one(self, n: int) -> None:
        for i in range(EACH):
            name = f"{n}-{i}"
            body = {"number": name, "slug": f"p{(n + i) % 7}"}
            answer = await self.until("/orders", 201, json=body, headers={"Idempotency-Key": name})
            self.placed.append(answer.json()["id"])
            await self.until(f"/hits/h{n % 5}/{name}", 202)


async def storm(socket: str, server: EmbeddedServer) -> Clients:
    """All clients, and the server killed when some of them are done."""
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=httpx.Limits(max_connections=CLIENTS))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", timeout=60) as http:
        clients = Clients(http)
        while True:
            try:
                await http.get("/")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)

        async def crash() -> None:
            while len(clients.placed) < 60:
                await asyncio.sleep(0.005)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.restart)

        await asyncio.gather(crash(), *(clients.one(n) for n in range(CLIENTS)))
        while (await clients.until("/replay", 200)).json()["left"]:
            await asyncio.sleep(0.1)
    return clients


@pytest.mark.slow
def test_64_clients_over_http_and_a_restart(tmp_path: Path) -> None:
    """Every order is placed once and every hit counted once, spooled ones among them."""
    socket = str(tmp_path / "shop.sock")
    with postgres() as server:
        engine = sa.create_engine(sync_url(server.url), poolclass=sa.NullPool)
        shop_app.Base.metadata.create_all(engine)
        create_tables(engine)
        url = with_driver(server.url, "postgresql+asyncpg").render_as_string(hide_password=False)
        environ = {**os.environ, "DATABASE_URL": url, "SPOOL": str(tmp_path / "spool")}
        command = ["uvicorn", "--factory", "tests.write.shop_app:make", "--uds", socket]
        command += ["--log-level", "error"]
        root = Path(__file__).parents[2]
        app = subprocess.Popen([sys.executable, "-m", *command], cwd=root, env=environ)
        try:
            clients = asyncio.run(storm(socket, server))
        finally:
            app.terminate()
            app.wait(20)
        with engine.connect() as connection:
            numbers = connection.execute(sa.select(shop_app.Order.number)).scalars().all()
            hits = dict(connection.execute(sa.select(shop_app.Page.slug, shop_app.Page.hits)).all())
    total = CLIENTS * EACH
    assert set(clients.statuses) <= {200, 201, 202, 409, 503}
    assert clients.statuses[202] > 0
    assert len(set(clients.placed)) == total == len(numbers) == len(set(numbers))
    assert sum(n for slug, n in hits.items() if slug[0] == "p") == total
    assert sum(n for slug, n in hits.items() if slug[0] == "h") == total
