"""A real Chromium for the tests of pages, driven by Playwright.

    browser    started once in a module, with a new folder for its user's data
    open_page  opens an address in a context of its own: `open_page(url, dark=True, phone=True)`

A page that raises an error in its scripts, or that its own Content Security Policy stops, fails the
test. Where there is no Chromium the tests are skipped, and with CI=true they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # every run of tests loads this module, and few need Playwright
    from playwright.sync_api import Browser, ConsoleMessage, Page

OpenPage = Callable[..., "Page"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PATIENCE = 15_000  #: milliseconds that a page may take for anything


def find_browser() -> str | None:
    """The Chromium of this machine, if there is one."""
    named = os.environ.get("ONEROW_TEST_BROWSER")
    if named:
        return named if os.access(named, os.X_OK) else None
    return next(filter(None, map(shutil.which, NAMES)), None)


def describe_browser() -> str:
    """A line for the header of a test run."""
    found = find_browser()
    return f"browser: {found or 'NONE FOUND, THE BROWSER TESTS ARE SKIPPED (apt install chromium)'}"


# Playwright's loop runs on in the thread that started it and would be in the way of asynchronous
# tests, so it lives no longer than a module of tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    path = find_browser()
    if path is None:
        said = "There is no Chromium for the tests of pages: apt install chromium"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages, and fails when one of them has met an error that nobody handled."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def open_one(address: str, *, phone: bool = False, dark: bool = False) -> Page:
            context = browser.new_context(
                viewport=PHONE if phone else DESK,
                has_touch=phone,
                is_mobile=phone,
                color_scheme="dark" if dark else "light",
                timezone_id="UTC",
                locale="en-GB",
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda message: wrong.extend(_violation(message)))
            page.goto(address)
            return page

        yield open_one
    if wrong:
        pytest.fail("The page went wrong: " + "; ".join(wrong))


def _violation(message: ConsoleMessage) -> list[str]:
    return [message.text] if "Content Security Policy" in message.text else []
