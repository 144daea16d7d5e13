"""The page in a real browser: moved by mouse, keyboard and finger, taken back, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.support.browser import OpenPage
from tests.systems.planner.support import Planner, after, application, before

WEEK = "/?view=week&day=2026-03-02"
MONTH = "/?view=month&day=2026-03-02"


@pytest.fixture
def planner(sqlite_url: str) -> Iterator[Planner]:
    """A fresh one for each test."""
    with application(after(sqlite_url)) as started:
        yield started


class Puts:
    """The writes that a page sends."""

    def __init__(self, page: Page) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.method != "GET":
            path = request.url.split("/api/", 1)[1]
            self.sent.append((request.method, path, json.loads(request.post_data or "null")))


def card(page: Page, workout: int) -> Locator:
    return page.locator(f'[data-key="plan-{workout}"] .face')


def zone(page: Page, day: str, slot: str | None = None) -> Locator:
    which = "" if slot is None else f'[data-slot="{slot}"]'
    return page.locator(f'.zone[data-day="{day}"]{which}')


def drag(page: Page, what: Locator, to: Locator) -> None:
    """As a hand does it: press, begin to move, go there, let go."""
    expect(page.locator(".busy")).to_have_count(0)
    what.scroll_into_view_if_needed()
    start, end = what.bounding_box(), to.bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + 20, start["y"] + 10)
    page.mouse.down()
    page.mouse.move(start["x"] + 30, start["y"] + 20, steps=3)
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=6)
    page.mouse.up()


def opened(open_page: OpenPage, planner: Planner, view: str = WEEK, **how: bool) -> Page:
    page = open_page(planner.address + view, **how)
    expect(page.locator("#tray-hint")).to_contain_text("Planned for")
    return page


def test_a_drag_sends_one_put(planner: Planner, open_page: OpenPage) -> None:
    """Across day and slot: both fields in one PUT, nothing else, and the card is there after a reload."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    puts = Puts(page)
    drag(page, card(page, 1), zone(page, "2026-03-05", "morning"))
    there = zone(page, "2026-03-05", "morning").locator('[data-key="plan-1"]')
    expect(there).to_be_visible()
    expect(page.locator("#toast")).to_contain_text("Thu 5 Mar, morning")
    fields = {"currentPlanDay": "2026-03-05", "timeOfDay": "morning"}
    assert puts.sent == [("PUT", "selections/1", fields)]
    page.reload()
    expect(there).to_be_visible()
    assert planner.selection(1)["version"] == 2


def test_from_the_tray_and_back(planner: Planner, open_page: OpenPage) -> None:
    """A workout that waits goes onto the calendar, and off it; dropped where it was it sends nothing."""
    page = opened(open_page, planner)
    puts = Puts(page)
    drag(page, card(page, 2), zone(page, "2026-03-04", "afternoon"))
    expect(zone(page, "2026-03-04", "afternoon").locator(".workout")).to_have_count(1)
    expect(page.locator("#undo")).to_be_enabled()
    drag(page, card(page, 2), page.locator("#tray"))
    expect(page.locator("#tray [data-key='plan-2']")).to_be_visible()
    expect(page.locator(".busy")).to_have_count(0)
    drag(page, card(page, 3), page.locator("#tray"))
    drag(page, card(page, 3), page.locator("#back"))  # over the calendar, to where nothing is taken
    expect(page.locator("#tray [data-key='plan-3']")).to_be_visible()
    fields = {"isSelected": True, "currentPlanDay": "2026-03-04", "timeOfDay": "afternoon"}
    assert [body for _, _, body in puts.sent] == [fields, {"isSelected": False}]


def test_in_the_month_the_time_stays(planner: Planner, open_page: OpenPage) -> None:
    """A drop on a day sends the day alone."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner, MONTH)
    puts = Puts(page)
    drag(page, card(page, 1), zone(page, "2026-03-12"))
    expect(zone(page, "2026-03-12").locator(".workout")).to_contain_text("Evening")
    assert puts.sent == [("PUT", "selections/1", {"currentPlanDay": "2026-03-12"})]


def test_by_keyboard(planner: Planner, open_page: OpenPage) -> None:
    """Picked up, carried by arrows, said aloud, put down: one PUT, and the focus stays on the card."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    puts = Puts(page)
    card(page, 1).focus()
    for key in ("Space", "ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator("#live")).to_have_text("Wed 4 Mar, afternoon")
    assert puts.sent == []
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_be_enabled()
    expect(zone(page, "2026-03-04", "afternoon").locator(".workout")).to_have_count(1)
    expect(card(page, 1)).to_be_focused()
    fields = {"currentPlanDay": "2026-03-04", "timeOfDay": "afternoon"}
    assert puts.sent == [("PUT", "selections/1", fields)]
    expect(page.locator("#details")).not_to_be_visible()


def test_by_keyboard_over_the_edge_and_back(planner: Planner, open_page: OpenPage) -> None:
    """The next week comes when it is carried there; Escape puts it back, and nothing is sent."""
    planner.put(7, currentPlanDay="2026-03-08")
    page = opened(open_page, planner)
    puts = Puts(page)
    card(page, 7).focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    expect(zone(page, "2026-03-09", "").locator(".carried")).to_be_visible()
    expect(page.locator("#range")).to_have_text("9 Mar – 15 Mar 2026")
    page.keyboard.press("Escape")
    page.locator("#back").click()
    expect(zone(page, "2026-03-08", "").locator("[data-key='plan-7']")).to_be_visible()
    assert puts.sent == []


def test_by_keyboard_to_the_tray(planner: Planner, open_page: OpenPage) -> None:
    """T takes it off the calendar."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    card(page, 1).focus()
    for key in ("Space", "t", "Space"):
        page.keyboard.press(key)
    expect(page.locator("#toast")).to_contain_text("not scheduled")
    assert planner.selection(1)["isSelected"] is False


def test_a_save_that_fails(planner: Planner, open_page: OpenPage) -> None:
    """The card goes back to where it was, and the page says so and why; nothing is left to undo."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    told = {"error": "UNAVAILABLE", "message": "The database cannot be reached."}

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json=told)

    page.route("**/api/selections/1", refuse)
    drag(page, card(page, 1), zone(page, "2026-03-05", "morning"))
    alert = page.get_by_role("alert").and_(page.locator("#toast"))
    expect(alert).to_contain_text("was not saved and is back: Mon 2 Mar, evening")
    expect(alert).to_contain_text("The database cannot be reached.")
    expect(zone(page, "2026-03-02", "evening").locator("[data-key='plan-1']")).to_be_visible()
    expect(page.locator("#undo")).to_be_disabled()
    page.unroute("**/api/selections/1")
    page.route("**/api/selections/1", lambda route: route.abort())
    card(page, 1).focus()
    for key in ("Space", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(alert).to_contain_text("The server cannot be reached.")
    expect(zone(page, "2026-03-02", "evening").locator("[data-key='plan-1']")).to_be_visible()
    assert planner.selection(1)["version"] == 1


def test_an_answer_during_a_drag(planner: Planner, open_page: OpenPage) -> None:
    """It takes no card out of the hand; both are where they were put."""
    for workout in (1, 2):
        planner.put(workout, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    held: list[Route] = []
    page.route("**/api/selections/1", lambda route: held.append(route))
    drag(page, card(page, 1), zone(page, "2026-03-04", "morning"))
    expect(page.locator(".busy")).to_have_count(1)
    box = card(page, 2).bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] - 20, steps=3)
    with page.expect_response("**/api/selections/1"):
        held[0].continue_()
    target = zone(page, "2026-03-05", "morning").bounding_box()
    assert target
    page.mouse.move(target["x"] + 40, target["y"] + 30, steps=5)
    page.mouse.up()
    expect(zone(page, "2026-03-05", "morning").locator("[data-key='plan-2']")).to_be_visible()
    expect(zone(page, "2026-03-04", "morning").locator("[data-key='plan-1']")).to_be_visible()
    expect(page.locator(".busy")).to_have_count(0)


def test_undo(planner: Planner, open_page: OpenPage) -> None:
    """The last move is taken back, as one PUT; the first placing by a reset."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    puts = Puts(page)
    drag(page, card(page, 1), zone(page, "2026-03-05", "morning"))
    page.locator("#toast").get_by_text("Undo").click()
    expect(zone(page, "2026-03-02", "evening").locator("[data-key='plan-1']")).to_be_visible()
    expect(page.locator("#undo")).to_be_disabled()
    drag(page, card(page, 2), zone(page, "2026-03-05", "morning"))
    page.locator("#undo").click()
    expect(page.locator("#toast")).to_contain_text("is back: not scheduled")
    assert puts.sent[1] == (
        "PUT",
        "selections/1",
        {"currentPlanDay": "2026-03-02", "timeOfDay": "evening"},
    )
    assert puts.sent[-1] == ("DELETE", "selections/2", None)
    assert planner.selection(2) is None


def test_details(planner: Planner, open_page: OpenPage) -> None:
    """They show what the coach said, and save the fields that were changed, and no others."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    page = opened(open_page, planner)
    puts = Puts(page)
    card(page, 1).click()
    panel = page.locator("#details")
    expect(panel).to_contain_text("Easy lengths, breathing on both sides")
    panel.get_by_label("Place").fill("club pool")
    panel.get_by_label("Time of day").select_option("morning")
    panel.get_by_text("Save").click()
    expect(panel).not_to_be_visible()
    expect(zone(page, "2026-03-02", "morning").locator(".workout")).to_have_count(1)
    assert [body for _, _, body in puts.sent] == [
        {"timeOfDay": "morning", "workoutLocation": "club pool"}
    ]
    card(page, 1).click()
    panel.get_by_text("Take off the calendar").click()
    expect(page.locator("#tray [data-key='plan-1']")).to_be_visible()


def test_details_that_are_refused(planner: Planner, open_page: OpenPage) -> None:
    """The panel stays open, says why, and what was typed is still there."""
    page = opened(open_page, planner)
    answer = {"error": "BAD_REQUEST", "message": "userNotes: too long"}
    page.route("**/api/selections/1", lambda route: route.fulfill(status=400, json=answer))
    card(page, 1).click()
    panel = page.locator("#details")
    panel.get_by_label("My notes").fill("something")
    panel.get_by_text("Put on the calendar").click()
    expect(panel.get_by_role("alert")).to_have_text("Not saved: userNotes: too long")
    expect(panel.get_by_label("My notes")).to_have_value("something")


def test_workouts_of_ones_own(planner: Planner, open_page: OpenPage) -> None:
    """Added, dragged, deleted; what people write is text and nothing else."""
    page = opened(open_page, planner)
    page.locator("#add").click()
    panel = page.locator("#details")
    panel.get_by_text("Save").click()
    expect(panel.get_by_role("alert")).to_have_text("It needs a title.")
    panel.get_by_label("Title").fill("<img src=x onerror=alert(1)>")
    panel.get_by_label("Day", exact=True).fill("2026-03-03")
    panel.get_by_text("Save").click()
    own = page.locator(".own .face")
    expect(own).to_contain_text("<img src=x onerror=alert(1)>")
    drag(page, own, zone(page, "2026-03-06", "evening"))
    expect(zone(page, "2026-03-06", "evening").locator(".own")).to_be_visible()
    expect(page.locator("#undo")).to_be_enabled()
    (row,) = planner.http.get("/api/custom-workouts").json()
    assert (row["plannedDate"], row["timeOfDay"]) == ("2026-03-06", "evening")
    drag(page, own, page.locator("#tray"))
    expect(zone(page, "2026-03-06", "evening").locator(".own")).to_be_visible()
    own.click()
    panel.get_by_text("Delete").click()
    expect(own).to_have_count(0)
    assert planner.http.get("/api/custom-workouts").json() == []


def test_import_and_export(planner: Planner, open_page: OpenPage, tmp_path: Path) -> None:
    """A file is imported and its bad lines are told; the calendar comes down as a file."""
    file = tmp_path / "plan.csv"
    file.write_text("Title,WorkoutDay\nFresh from the coach,2026-03-03\nNo day,\n")
    page = opened(open_page, planner)
    page.locator("#file").set_input_files(file)
    expect(page.locator("#toast")).to_contain_text("1 imported, 0 there already, 1 left out.")
    expect(page.locator("#toast")).to_contain_text("Line 3: WorkoutDay is empty.")
    expect(page.locator("#tray")).to_contain_text("Fresh from the coach")
    with page.expect_download() as download:
        page.locator("#export").click()
    assert download.value.suggested_filename == "calendar.ics"


def test_on_a_phone(planner: Planner, open_page: OpenPage) -> None:
    """Nothing sticks out to the side, in the dark or not; a tap opens the details, where it is moved."""
    planner.put(1, currentPlanDay="2026-03-02", timeOfDay="evening")
    for view in (WEEK, MONTH):
        page = opened(open_page, planner, view, phone=True, dark=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    card(page, 1).tap()
    panel = page.locator("#details")
    panel.get_by_label("Day", exact=True).fill("2026-03-04")
    panel.get_by_text("Save").tap()
    expect(zone(page, "2026-03-04").locator("[data-key='plan-1']")).to_be_visible()
    assert planner.selection(1)["currentPlanDay"] == "2026-03-04"


def test_the_naive_page_sends_two_puts(pg_url: str, open_page: OpenPage) -> None:
    """A drop across day and slot: two PUTs at once, each with a field, and two rows."""
    box = before(pg_url, 0)
    with application(box, naive=True) as planner:
        page = opened(open_page, planner)
        puts = Puts(page)
        for workout, day in enumerate(("02", "03", "04", "05"), start=1):
            there = zone(page, f"2026-03-{day}", "morning")
            drag(page, card(page, workout), there)
            expect(there.locator(".workout:not(.busy)")).to_have_count(1)
        assert all(len(body) == 1 for _, _, body in puts.sent)
        assert len(puts.sent) == 12
    assert box.count("workout_selections") > 4
