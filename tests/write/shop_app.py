"""A small shop for `test_app.py`, as one writes it from the documentation: FastAPI, all of it async."""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from onerow import Key, aio
from onerow.write.http.problem import spooled_problem
from onerow.write.http.starlette import IdempotencyMiddleware, install_problem_handlers, respond


class Base(DeclarativeBase):
    pass


class Page(Base):
    __tablename__ = "pages"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    hits: Mapped[int] = mapped_column(default=0)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    page_id: Mapped[int] = mapped_column(sa.ForeignKey("pages.id"))


class Body(BaseModel):
    number: str
    slug: str


PAGE = Key(Page, "slug")


async def count(session: AsyncSession, slug: str) -> Page:
    values = {"slug": slug, "hits": 1}
    page: Page = (await aio.upsert(session, PAGE, values, update={"hits": Page.hits + 1})).row
    return page


async def place(session: AsyncSession, number: str, slug: str) -> int:
    order = Order(number=number, page_id=(await count(session, slug)).id)
    session.add(order)
    await session.flush()
    return order.id


def make() -> FastAPI:
    """For `uvicorn --factory`: the application over DATABASE_URL, its spool in SPOOL."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=16, max_overflow=0)
    sessions = async_sessionmaker(engine)
    app = FastAPI()
    install_problem_handlers(app)
    app.add_middleware(IdempotencyMiddleware, sessions=sessions)
    spool = aio.Spool(os.environ["SPOOL"])

    @spool.handler("hit")
    async def hit(session: AsyncSession, payload: Any) -> None:
        await count(session, payload["slug"])

    @app.post("/orders", status_code=201)
    async def create(body: Body, request: Request) -> Any:
        guarded = getattr(request.state, "onerow_session", None)
        if guarded is not None:
            return {"id": await place(guarded, body.number, body.slug)}
        return {"id": await aio.transactional(sessions)(place)(body.number, body.slug)}

    @app.post("/hits/{slug}/{op_id}")
    async def hits(slug: str, op_id: str) -> Any:
        done = await spool.submit(sessions, "hit", {"slug": slug}, key=slug, op_id=op_id)
        return {"done": done} if done == "applied" else respond(spooled_problem())

    @app.post("/replay")
    async def replay() -> Any:
        done = await spool.replay(sessions)
        return {"left": done.left, "failed": done.failed}

    return app
