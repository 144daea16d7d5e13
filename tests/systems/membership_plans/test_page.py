"""The page, in a real browser: list, filter, create, edit, archive, restore, delete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from systems.membership_plans import policy
from tests.support.browser import OpenPage
from tests.systems.membership_plans.support import House, fresh, repaired
from tests.systems.support import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PICTURES = FOLDER.parent / "docs" / "systems"
SignIn = Callable[..., "Page"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    file = tmp_path_factory.mktemp("page") / "page.sqlite3"
    file.touch()
    with repaired(f"sqlite:///{file}") as started:
        yield started


@pytest.fixture
def sign_in(house: House, open_page: OpenPage) -> SignIn:
    """Opens the page, and signs in by the form that a person has."""

    def signed_in(role: str = "ADMIN", tenant: str = "t1", **looks: Any) -> Page:
        page = open_page(house.address, **looks)
        page.get_by_label("Token").fill(house.server.token(tenant_id=tenant, role=role))
        page.get_by_role("button", name="Sign in").click()
        page.locator("#status", has_text="plan").wait_for()
        return page

    return signed_in


def row(page: Page, name: str) -> Locator:
    return page.locator("#plans tbody tr[data-id]", has_text=name)


def answer(page: Page, name: str) -> Locator:
    """What stands under a plan's row."""
    return page.locator("#plans tbody tr[data-id]", has_text=name).locator("+ tr.answer")


def press(page: Page, what: str, name: str) -> None:
    page.get_by_role("button", name=f"{what} {name}", exact=True).click()


def test_a_plan_from_start_to_end(house: House, sign_in: SignIn) -> None:
    """Made, changed, archived with its members counted, restored, and not deleted while it has any."""
    page, name = sign_in(), fresh("Gold")
    page.get_by_role("button", name="New plan").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Sold in").select_option("t1-b1")
    dialog.get_by_label("Price").fill("19,99")
    dialog.get_by_role("button", name="Save").click()
    answer(page, name).get_by_text("Made.").wait_for()
    (made,) = house.rows(name)
    assert made[1:] == ("ACTIVE", "t1-b1")
    assert "19.99 EUR" in row(page, name).inner_text()

    press(page, "Edit", name)
    assert dialog.get_by_label("Runs for").is_disabled()
    dialog.get_by_label("Price").fill("0.07")
    dialog.get_by_role("button", name="Save").click()
    answer(page, name).get_by_text("Saved.").wait_for()
    assert house.admin.get(made[0])["price"] == 0.07

    assert house.admin.enrol(made[0]).status_code == 201
    press(page, "Archive", name)
    answer(page, name).get_by_text("1 active member keeps it").wait_for()
    press(page, "Restore", name)
    answer(page, name).get_by_text("sold again").wait_for()
    page.on("dialog", lambda d: d.accept())
    press(page, "Delete", name)
    answer(page, name).get_by_text(policy.HAS_MEMBERS).wait_for()
    assert house.active(name) == 1


def test_errors_stand_at_their_fields(house: House, sign_in: SignIn) -> None:
    """Each under its field, which gets the focus; a name in use at the name."""
    page, taken = sign_in(), house.admin.create(fresh("Silver"))["name"]
    page.get_by_role("button", name="New plan").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Runs for").fill("99")
    dialog.get_by_label("Price").fill("1.005")
    dialog.get_by_label("Currency").fill("EU")
    dialog.get_by_role("button", name="Save").click()
    dialog.locator("#wrong-price").wait_for()
    wrong = {p.get_attribute("id") for p in dialog.locator(".wrong").all()}
    assert wrong == {f"wrong-{f}" for f in ("name", "durationValue", "price", "currency")}
    assert page.evaluate("document.activeElement.id") == "name"

    dialog.get_by_label("Name").fill(taken.upper())
    dialog.get_by_label("Runs for").fill("24")
    dialog.get_by_label("Price").fill("1.05")
    dialog.get_by_label("Currency").fill("")
    dialog.get_by_role("button", name="Save").click()
    dialog.locator("#wrong-name", has_text=policy.NAME_TAKEN).wait_for()
    assert dialog.locator(".wrong").count() == 1
    assert house.active(taken) == 1


def test_a_restore_that_is_refused(house: House, sign_in: SignIn) -> None:
    """The answer stands under the row, which stays archived."""
    name = fresh("Bronze")
    gone = house.admin.create(name)["id"]
    house.admin.archive(gone)
    house.admin.create(name.upper(), branch=None)
    page = sign_in()
    page.get_by_label("Archived ones, too").check()
    page.get_by_role("button", name=f"Restore {name}", exact=True).click()
    told = page.locator(f'tr[data-id="{gone}"] + tr.answer')
    told.get_by_text(policy.CANNOT_RESTORE).wait_for()
    assert page.locator(f'tr[data-id="{gone}"]').get_by_text("archived").is_visible()


def test_filters_and_pages(house: House, sign_in: SignIn) -> None:
    """By a part of the name and by branch; twenty at a time."""
    mark = fresh("Filter")
    for n in range(21):
        house.admin.create(f"{mark} {n:02}", branch="t1-b2" if n == 3 else None, sortOrder=n)
    page = sign_in()
    page.get_by_label("Name", exact=True).first.fill(mark.upper())
    page.get_by_text("21 plans").wait_for()
    page.get_by_text("1–20 of 21").wait_for()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("21–21 of 21").wait_for()
    assert row(page, f"{mark} 20").is_visible()
    page.locator("#where").select_option("t1-b2")
    page.get_by_text("1 plan", exact=True).wait_for()
    assert "Branch 2 of chain 1" in row(page, f"{mark} 03").inner_text()


def test_by_keyboard_alone(house: House, sign_in: SignIn) -> None:
    """A plan is made and archived without a mouse, and the focus stays at its row."""
    page, name = sign_in(), fresh("Keys")
    page.locator("#q").focus()
    page.keyboard.type(name)
    page.get_by_text("0 plans").wait_for()
    page.locator("#new").focus()
    page.keyboard.press("Enter")
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("30")
    page.keyboard.press("Enter")
    answer(page, name).get_by_text("Made.").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    answer(page, name).get_by_text("Archived").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Edit {name}"
    page.locator("#new").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_what_is_typed_is_no_markup(house: House, sign_in: SignIn) -> None:
    """Names and descriptions are shown as they are."""
    name = f"<img src=x onerror=alert(1)> {fresh()}"
    house.admin.create(name, description="<script>alert(1)</script>")
    page = sign_in()
    page.locator("#q").fill("onerror")
    row(page, name).wait_for()
    assert row(page, name).locator("img, script").count() == 0


def test_staff_and_other_tenants(house: House, sign_in: SignIn) -> None:
    """STAFF sees no buttons, another tenant no plans; without a token there is a form to sign in."""
    name = house.admin.create(fresh("Seen"), sortOrder=-5)["name"]
    page = sign_in("STAFF")
    row(page, name).wait_for()
    assert page.locator("#plans button, #new").count() == 0
    other = sign_in("ADMIN", "t2")
    assert row(other, name).count() == 0
    other.get_by_role("button", name="Sign out").click()
    other.get_by_label("Token").wait_for()


LOOKS = {
    "desk": {},
    "dark": {"dark": True},
    "phone": {"phone": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_looks(
    sign_in: SignIn, tmp_path_factory: pytest.TempPathFactory, house: House, look: str
) -> None:
    """Nothing is wider than the screen; `ONEROW_UPDATE_DOCS=1` takes the pictures of the docs."""
    if not house.other.call("GET", "/api/v1/membership-plans").json()["data"]:
        furnish(house)
    page = sign_in("ADMIN", "t2", **LOOKS[look])
    page.locator("#archived").check()
    press(page, "Restore", "Student")
    page.get_by_text(policy.CANNOT_RESTORE).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(page, f"membership_plans-{look}.png", tmp_path_factory)
    if look == "dark":
        return
    page.get_by_role("button", name="New plan").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("annual")
    dialog.get_by_label("Price").fill("399")
    dialog.get_by_role("button", name="Save").click()
    dialog.locator("#wrong-name").wait_for()
    box = dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["width"] <= page.evaluate("innerWidth")
    if look == "desk":
        picture(page, "membership_plans-form.png", tmp_path_factory)


def furnish(house: House) -> None:
    """A price list to look at."""
    sold = [
        ("Annual", 399, 12, None, "All classes included, two guests a month"),
        ("Monthly", 39.9, 1, None, None),
        ("Student", 24.9, 1, None, "With a valid card"),
        ("Early bird", 29, 1, "t2-b1", "Until 9 in the morning"),
        ("Ten visits", 85, 6, "t2-b1", None),
    ]
    for order, (name, price, months, branch, told) in enumerate(sold, 1):
        more = {"price": price, "durationValue": months, "description": told, "sortOrder": order}
        made = house.other.create(name, branch=branch, **more)
        for _ in range(order % 4):
            house.other.enrol(made["id"], "t2-b1")
    (gone,) = (
        p for p in house.other.call("GET", "/api/v1/membership-plans?q=student").json()["data"]
    )
    house.other.archive(gone["id"])
    house.other.create("STUDENT", price=27.5, durationValue=1, sortOrder=9)


def picture(page: Page, name: str, folders: pytest.TempPathFactory) -> None:
    wanted = os.environ.get("ONEROW_UPDATE_DOCS")
    folder = PICTURES if wanted else folders.mktemp("pictures", numbered=True)
    file = Path(folder) / name
    page.screenshot(path=file)
    assert 5_000 < file.stat().st_size < 150_000
