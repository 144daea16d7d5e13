"""A keyed table against a model: whatever is done in whatever order, both agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from onerow.write import (
    NotFound,
    Stale,
    advance,
    bulk_upsert,
    get_or_create,
    patch,
    restore_or_create,
    upsert,
)
from tests.write.support import PAGE, USER, Page, User, engine_of

slugs = st.sampled_from(["a", "A", "b", "c'", "d%s:x"])
titles = st.sampled_from([None, "x", "y", ""])
numbers = st.integers(0, 3)


def machine(engine: sa.Engine) -> type[RuleBasedStateMachine]:
    """The state machine over a database."""

    class Keyed(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.users: dict[str, dict[str, Any]] = {}
            self.pages: dict[str, list[bool]] = {}
            self.session = Session(engine)
            self.session.execute(sa.delete(User))
            self.session.execute(sa.delete(Page))

        def teardown(self) -> None:
            self.session.rollback()
            self.session.close()

        def put(self, slug: str, values: dict[str, Any]) -> str:
            """What an upsert does in the model."""
            row = self.users.get(slug)
            if row is None:
                self.users[slug] = {"title": None, "hits": 0, **values}
                return "inserted"
            changed = any(row[n] != v for n, v in values.items())
            row.update(values)
            return "updated" if changed else "unchanged"

        @rule(slug=slugs, title=titles, hits=st.none() | numbers)
        def upsert(self, slug: str, title: str | None, hits: int | None) -> None:
            values: dict[str, Any] = {"title": title}
            if hits is not None:
                values["hits"] = hits
            given = {"tenant_id": 1, "slug": slug, **values}
            written = upsert(self.session, USER, given)
            assert written.outcome == self.put(slug, values)
            assert (written.row.slug, written.row.title) == (slug, title)

        @rule(slug=slugs)
        def count(self, slug: str) -> None:
            values = {"tenant_id": 1, "slug": slug, "hits": 1}
            written = upsert(self.session, USER, values, update={"hits": User.hits + 1})
            before = self.users.get(slug)
            assert written.outcome == ("inserted" if before is None else "updated")
            self.put(slug, {"hits": 1 if before is None else before["hits"] + 1})
            assert written.row.hits == self.users[slug]["hits"]

        @rule(slug=slugs, title=titles)
        def get(self, slug: str, title: str | None) -> None:
            written = get_or_create(
                self.session, USER, {"tenant_id": 1, "slug": slug}, defaults={"title": title}
            )
            known = slug in self.users
            assert written.outcome == ("unchanged" if known else "inserted")
            if not known:
                self.put(slug, {"title": title})

        @rule(slug=slugs, title=titles, expected=numbers)
        def patch(self, slug: str, title: str | None, expected: int) -> None:
            ident = {"tenant_id": 1, "slug": slug}
            row = self.users.get(slug)
            changes, expect = {"title": title}, {"hits": expected}
            if row is None:
                with pytest.raises(NotFound):
                    patch(self.session, USER, ident, changes, expect=expect)
            elif row["hits"] != expected:
                with pytest.raises(Stale) as caught:
                    patch(self.session, USER, ident, changes, expect=expect)
                assert caught.value.row.hits == row["hits"]
            else:
                written = patch(self.session, USER, ident, changes, expect=expect)
                changed = row["title"] != title
                assert written.outcome == ("updated" if changed else "unchanged")
                row.update(title=title, hits=expected + changed)

        @rule(slug=slugs, old=numbers, new=numbers)
        def advance(self, slug: str, old: int, new: int) -> None:
            row = self.users.get(slug)
            ident = {"tenant_id": 1, "slug": slug}
            try:
                written = advance(self.session, USER, ident, {"hits": (old, new)})
            except NotFound:
                assert row is None
                return
            assert row is not None
            moved = row["hits"] == old
            assert written.outcome == ("updated" if moved else "unchanged")
            if moved:
                row["hits"] = new
            assert written.row.hits == row["hits"]

        @rule(rows=st.lists(st.tuples(slugs, titles), max_size=6))
        def bulk(self, rows: list[tuple[str, str | None]]) -> None:
            given = [{"tenant_id": 1, "slug": s, "title": t} for s, t in rows]
            written = bulk_upsert(self.session, USER, given)
            outcomes = [self.put(s, {"title": t}) for s, t in dict(rows).items()]
            assert written.inserted == outcomes.count("inserted")
            assert written.updated == outcomes.count("updated")
            assert written.unchanged == outcomes.count("unchanged")

        @rule(slug=slugs)
        def delete(self, slug: str) -> None:
            self.session.execute(sa.delete(User).where(User.slug == slug))
            self.users.pop(slug, None)

        @rule(slug=slugs)
        def restore(self, slug: str) -> None:
            lives = self.pages.setdefault(slug, [])
            outcome = restore_or_create(self.session, PAGE, {"slug": slug}).outcome
            if any(lives):
                assert outcome == "unchanged"
            elif lives:
                assert outcome == "restored"
                lives[-1] = True
            else:
                assert outcome == "inserted"
                lives.append(True)

        @rule(slug=slugs)
        def remove(self, slug: str) -> None:
            living = sa.update(Page).where(Page.slug == slug, Page.deleted_at.is_(None))
            self.session.execute(living.values(deleted_at=datetime(2026, 1, 1)))
            self.pages[slug] = [False for _ in self.pages.get(slug, [])]

        @invariant()
        def agree(self) -> None:
            rows = self.session.execute(sa.select(User.slug, User.title, User.hits)).all()
            assert {r.slug: {"title": r.title, "hits": r.hits} for r in rows} == self.users
            assert len(rows) == len(self.users)

    return Keyed


@contextmanager
def example_settings(examples: int) -> Iterator[settings]:
    yield settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def test_model(db_url: str) -> None:
    """A few dozen histories, in any order of any verbs."""
    with engine_of(db_url) as engine, example_settings(25) as chosen:
        run_state_machine_as_test(machine(engine), settings=chosen)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_model_long(db_url: str) -> None:
    """Many histories."""
    with engine_of(db_url) as engine, example_settings(400) as chosen:
        run_state_machine_as_test(machine(engine), settings=chosen)
