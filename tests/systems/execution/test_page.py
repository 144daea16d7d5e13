"""The page in a real browser: signing in, the grid, what is sent, and conflicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.browser import OpenPage
from tests.support.sandbox import Sandbox
from tests.systems.execution.support import (
    ADMIN,
    PERIOD,
    ROOT,
    application,
    bearer,
    report,
    state,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

OURS = bearer(3, sub="f003.<b>accountant</b>1")
TRAINING, FUEL, TOTAL = 3, 4, 10


@pytest.fixture
def box(sqlite_url: str) -> Sandbox:
    return state(sqlite_url, "after")


@pytest.fixture
def http(box: Sandbox) -> Iterator[httpx.Client]:
    with application(box.url) as client:
        yield client


@pytest.fixture
def grid(http: httpx.Client, open_page: OpenPage) -> Page:
    """The page of facility 3's accountant, in which Fuel has been saved before."""
    saved = http.post(ROOT, json=report(3, FUEL, q1Amount=10, q2Amount=2.5), headers=OURS)
    assert saved.status_code == 201
    return signed_in(open_page(str(http.base_url)), OURS)


def signed_in(page: Page, who: dict[str, str]) -> Page:
    page.fill("#token", who["Authorization"].removeprefix("Bearer "))
    page.click("button[type=submit]")
    page.wait_for_selector("#grid[data-ready]")
    return page


class Sent:
    """The requests of a page that write."""

    def __init__(self, page: Page) -> None:
        self.found: list[tuple[str, str, Any]] = []
        page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if request.method != "GET":
            path = request.url.split("/api/")[-1]
            self.found.append((request.method, path, json.loads(request.post_data)))


def field(page: Page, activity: int, quarter: int) -> Any:
    return page.locator(f'tr[data-activity="{activity}"] input[name=q{quarter}Amount]')


def said(page: Page, text: str) -> None:
    page.locator("#status", has_text=text).wait_for()


def stored(http: httpx.Client, activity: int) -> dict[str, Any]:
    key = {"reportingPeriodId": PERIOD, "activityId": activity, "facilityId": 3}
    answer = http.get(f"{ROOT}/by-period-and-activity", params=key, headers=OURS)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_signing_in_and_out(http: httpx.Client, open_page: OpenPage) -> None:
    """A bad token is told; a good one shows the grid, the name in it escaped; and out again."""
    page = open_page(str(http.base_url))
    assert page.url.endswith("/login")
    page.fill("#token", "nonsense")
    page.click("button[type=submit]")
    assert page.inner_text("[role=alert]") == "The token is not valid."
    signed_in(page, OURS)
    assert "f003.<b>accountant</b>1" in page.inner_text(".who")
    page.click("text=Sign out")
    page.wait_for_url("**/login")
    page.goto(str(http.base_url))
    assert page.url.endswith("/login")


def test_saving_sends_what_was_filled_in(grid: Page, http: httpx.Client) -> None:
    """A new line as a POST, a stored one as a PATCH of what changed; with the session's facility."""
    sent = Sent(grid)
    field(grid, TRAINING, 1).fill("1 250.50")
    field(grid, FUEL, 2).fill("7")
    said(grid, "2 lines not saved.")
    grid.keyboard.press("Control+s")
    said(grid, "2 lines saved.")
    zero = {"q2Amount": 0, "q3Amount": 0, "q4Amount": 0}
    key = {"reportingPeriodId": PERIOD, "activityId": TRAINING, "facilityId": 3}
    number = stored(http, FUEL)["id"]
    assert sent.found == [
        ("POST", "execution-data", {**key, "q1Amount": 1250.5, **zero}),
        ("PATCH", f"execution-data/{number}", {"facilityId": 3, "q2Amount": 7}),
    ]
    assert stored(http, TRAINING)["cumulativeBalance"] == 1250.5
    grid.reload()
    grid.wait_for_selector("#grid[data-ready]")
    assert field(grid, TRAINING, 1).input_value() == "1250.50"
    said(grid, "Nothing to save.")


def test_a_conflict_is_shown_with_what_is_stored(grid: Page, http: httpx.Client) -> None:
    """Nothing is overwritten unasked; what is stored can be taken, or replaced."""
    for activity in (TRAINING, TRAINING - 1):
        field(grid, activity, 1).fill("5")
        theirs = report(3, activity, q1Amount=80.5)
        assert http.post(ROOT, json=theirs, headers=OURS).status_code == 201
    grid.click("#save")
    said(grid, "0 lines saved, 2 conflicts.")
    first = grid.locator("tr.conflict").first
    for text in ("exists for this reporting period, activity and facility", "Q1 80.50"):
        assert text in first.inner_text()
    assert stored(http, TRAINING)["q1Amount"] == 80.5
    first.get_by_text("Take what is stored").click()
    assert field(grid, TRAINING - 1, 1).input_value() == "80.50"
    grid.get_by_text("Replace it with mine").click()
    said(grid, "Nothing to save.")
    assert (stored(http, TRAINING - 1)["q1Amount"], stored(http, TRAINING)["q1Amount"]) == (80.5, 5)
    assert grid.locator("tr.conflict").count() == 0


def test_a_failed_save_stays_to_be_saved(grid: Page, http: httpx.Client) -> None:
    """It is told, nothing that was typed is lost, and the next try goes through."""
    field(grid, TRAINING, 2).fill("12")
    grid.route("**/api/**", lambda route: route.abort())
    grid.click("#save")
    said(grid, "The server cannot be reached.")
    grid.unroute("**/api/**")
    grid.click("#save")
    said(grid, "1 line saved.")
    assert stored(http, TRAINING)["q2Amount"] == 12


def test_sums_and_what_is_no_amount(grid: Page) -> None:
    """Lines, blocks and the sheet add up in cents; nonsense is marked and cannot be saved."""
    field(grid, TRAINING, 1).fill("0.10")
    field(grid, TRAINING, 2).fill("0.20")
    line = grid.locator(f'tr[data-activity="{TRAINING}"] td.number')
    assert line.inner_text() == "0.30"
    totals = grid.locator("tr[data-total]").first.locator("td.number").all_inner_texts()
    assert totals == ["10.10", "2.70", "0", "0", "12.80"]
    field(grid, TRAINING, 3).fill("a lot")
    assert field(grid, TRAINING, 3).get_attribute("aria-invalid") == "true"
    assert grid.locator("#save").is_disabled()
    grid.click("#discard")
    assert field(grid, TRAINING, 1).input_value() == ""
    said(grid, "Nothing to save.")


def test_by_keyboard(grid: Page) -> None:
    """Enter and the arrows move down and up in a quarter, past totals."""
    field(grid, TOTAL - 1, 2).focus()
    grid.keyboard.press("Enter")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert grid.evaluate(focused) == "Salaries, quarter 2"
    grid.keyboard.press("ArrowUp")
    assert grid.evaluate(focused) == "Laboratory supplies, quarter 2"
    grid.keyboard.press("Tab")
    assert grid.evaluate(focused) == "Laboratory supplies, quarter 3"


def test_an_admin_picks_any_facility(http: httpx.Client, open_page: OpenPage) -> None:
    """The payload carries the one that is shown; an accountant has the own one only."""
    page = signed_in(open_page(str(http.base_url)), ADMIN)
    assert page.locator("#facility option").count() == 20
    page.select_option("#facility", "3")
    page.wait_for_selector('#grid[data-ready][data-facility="3"]')
    field(page, TRAINING, 4).fill("9")
    page.click("#save")
    said(page, "1 line saved.")
    assert stored(http, TRAINING)["q4Amount"] == 9
    other = signed_in(open_page(f"{http.base_url}?facility=5&period=x&sheet=99"), OURS)
    assert other.locator("#facility option").count() == 1
    other.goto(f"{http.base_url}?facility=5&period=x&sheet=99")
    assert other.get_attribute("#grid", "data-facility") == "3"


def test_on_a_phone(http: httpx.Client, open_page: OpenPage) -> None:
    """Nothing is wider than the screen, and every quarter says which it is."""
    page = signed_in(open_page(str(http.base_url), phone=True, dark=True), OURS)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    label = "getComputedStyle(document.querySelector('td[data-label]'), '::before').content"
    assert page.evaluate(label) == '"Q1"'
    field(page, TRAINING, 1).fill("3")
    page.tap("#save")
    said(page, "1 line saved.")
