"""The heat map in a real browser: marks, links, keyboard, refreshed live, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser import OpenPage
from tests.systems.report_weeks.support import House, application, collect, repaired, workflows


@pytest.fixture
def house(sqlite_url: str) -> Iterator[House]:
    """A fresh one for each test."""
    with application(repaired(sqlite_url)) as started:
        yield started


def test_the_map_lives(house: House, open_page: OpenPage) -> None:
    """Weeks change without a reload, told by mark and word; the focus stays; each leads on."""
    own = house.create(52)["id"]
    page = open_page(house.address)
    strip = page.locator(f"#c-{own}")
    expect(strip.locator(".cell.pending")).to_have_count(52)
    first = strip.locator(".cell").first
    first.focus()
    page.keyboard.press("End")
    expect(strip.locator(".cell").last).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    second = strip.locator(".cell").nth(1)
    expect(second).to_be_focused()
    assert strip.locator('.cell[tabindex="0"]').count() == 1
    with workflows(fail_rate=0.3, latency=0, seed=3) as service:
        tally = collect(house.box, service, own, attempts=1)
    expect(strip.locator(".cell.failed")).to_have_count(tally.failed)
    expect(strip.locator(".cell.completed")).to_have_count(tally.completed)
    expect(second).to_be_focused()
    assert set(strip.locator(".cell.failed").all_inner_texts()) == {"✗"}
    assert set(strip.locator(".cell.completed").all_inner_texts()) == {"✓"}
    expect(second).to_have_attribute("aria-label", "2024-01-08 to 2024-01-14: completed")
    execution = house.weeks(own)[1]["executionId"]
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/show/executions/{execution}")
    expect(page.locator(".made a")).to_have_count(1)


def test_a_failed_week_is_tried_again(house: House, open_page: OpenPage) -> None:
    """From its page, which then says that it is pending."""
    own = house.create(2)["id"]
    with workflows(fail_rate=1.0) as service:
        collect(house.box, service, own, attempts=1)
    page = open_page(f"{house.address}/show/weeks/{house.weeks(own)[0]['id']}")
    expect(page.locator("dd", has_text="the service")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("dd", has_text="pending")).to_be_visible()
    assert [w["status"] for w in house.weeks(own)] == ["pending", "failed"]


@pytest.mark.parametrize(("phone", "dark"), [(True, False), (False, True)])
def test_create_and_pause(house: House, open_page: OpenPage, phone: bool, dark: bool) -> None:
    """By hand, on a phone and in the dark; what is wrong is told; nothing is wider than the screen."""
    page = open_page(house.address, phone=phone, dark=dark)
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_role("button", name="New collection").click()
    page.fill("#f-name", "Reach <b>")
    page.fill("#f-workflow", "not a uuid")
    page.fill("#f-instance", "i-1")
    page.fill("#f-start", "2024-01-01")
    page.fill("#f-end", "2024-12-29")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#new-error")).to_contain_text("workflowId")
    page.fill("#f-workflow", "11111111-1111-4111-8111-111111111111")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".strip h2")).to_have_text("Reach <b>")
    expect(page.locator(".weeks .cell")).to_have_count(52)
    page.get_by_role("button", name="Pause Reach").click()
    expect(page.get_by_role("button", name="Resume Reach")).to_be_visible()
    assert house.http.get("/collections").json()["data"][0]["status"] == "paused"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
