"""The page of a failure, as a browser shows it: at a desk, on a phone, in the dark, read aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from onerow.race import Failure, explore
from tests.support.browser import OpenPage

metadata = sa.MetaData()
accounts = sa.Table(
    "page_accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("balance", sa.Integer, nullable=False),
)
LONG = "<b>Ann</b> & " + "x" * 70


def move(session: Session, source: int, target: int) -> None:
    for number, amount in ((source, -10), (target, 10)):
        row = accounts.c.id == number
        session.execute(accounts.update().where(row).values(balance=accounts.c.balance + amount))
    session.commit()


def there(factory: Any) -> None:
    with factory() as session:
        move(session, 1, 2)


def back(factory: Any) -> None:
    with factory() as session:
        move(session, 2, 1)


def setup(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(accounts.delete())
    rows = [{"id": n, "owner": LONG, "balance": 50} for n in range(1, 13)]
    connection.execute(accounts.insert(), rows)


@pytest.fixture(scope="module")
def failure(pg: Engine) -> Failure:
    """A deadlock: one waits, one is the victim, and there are more rows than are shown."""
    found = explore(pg, [there, back], setup=setup).failure
    assert found is not None
    return found


@pytest.fixture(scope="module")
def address(failure: Failure, tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("page") / "failure.html"
    file.write_text(failure.html, encoding="utf-8")
    return file.as_uri()


OVERFLOWING = """
    [...document.querySelectorAll('svg text')].filter(text => {
        const box = text.closest('svg').getBoundingClientRect(), own = text.getBoundingClientRect();
        const room = [...document.querySelectorAll('svg .box')].map(b => b.getBoundingClientRect());
        const inside = room.find(b => b.top <= own.top + 4 && own.bottom - 4 <= b.bottom
            && b.left <= own.left);
        return inside ? own.right > inside.right : own.right > box.right;
    }).map(text => text.textContent)
"""
CONTRAST = """
    selector => {
        const light = color => {
            const [r, g, b] = color.match(/[\\d.]+/g).map(v => v / 255)
                .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        return Math.min(...[...document.querySelectorAll(selector)].map(e => {
            const style = getComputedStyle(e);
            const ink = light(e.closest('svg') ? style.fill : style.color);
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        }));
    }
"""


def test_page_at_a_desk(open_page: OpenPage, address: str) -> None:
    """The diagram is shown, its text stays in its boxes, and the list is there to be read aloud."""
    page = open_page(address)
    assert page.locator("svg").is_visible()
    assert page.evaluate(OVERFLOWING) == []
    aloud = page.locator("ol").aria_snapshot()
    assert "40P01 deadlock detected" in aloud
    assert "B2 goes on after A2 UPDATE" in aloud
    assert page.locator("ol li").count() == page.locator("svg .box").count()
    assert page.locator(".steps").bounding_box()["width"] <= 1  # type: ignore[index]


def test_page_on_a_phone(open_page: OpenPage, address: str) -> None:
    """The list takes the diagram's place, and nothing makes the page wider than the screen."""
    page = open_page(address, phone=True)
    assert not page.locator("svg").is_visible()
    assert page.locator("ol li").first.is_visible()
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(open_page: OpenPage, address: str, dark: bool) -> None:
    """Text has the contrast of WCAG AA (4.5), the bar of a wait that of its graphics (3)."""
    page = open_page(address, dark=dark)
    for selector in ("svg text", "h1, h1 em, p, td, th, summary, .key"):
        assert page.evaluate(CONTRAST, selector) >= 4.5
    assert page.evaluate(CONTRAST, "svg .wait, svg .tip") >= 3


def test_page_tells_all(open_page: OpenPage, address: str, failure: Failure) -> None:
    """Rows are text and never markup, rows that are left out are told, the test is there to paste."""
    page = open_page(address)
    said = page.locator("main").inner_text()
    assert "<b>Ann</b> & xxx" in said
    assert "and more" in said
    assert f"--replay '{failure.script}'" in said
    page.locator("summary").click()
    assert page.locator("pre").inner_text().strip() == failure.test.strip()
