"""The sandbox as a stranger meets it: the command, and its page in a browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from systems.triage_bot import sandbox
from systems.triage_bot.sandbox import Sandbox
from systems.triage_bot.team import name_of
from tests.support.browser import OpenPage
from tests.systems.support import FOLDER
from tests.systems.triage.support import repaired

ANA, BEN, ADA = name_of(2), name_of(7), "Ada, administrator"


@pytest.fixture
def slack(sqlite_url: str, tmp_path: Path) -> Iterator[Sandbox]:
    repaired(sqlite_url)
    with sandbox.playing(sqlite_url, sandbox.settings(tmp_path / "spool")) as found:
        yield found


def test_the_command(tmp_path: Path) -> None:
    """It says where to look, serves, and ends with Ctrl-C, leaving nothing behind."""
    env = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "TMPDIR": str(tmp_path)}
    words = [sys.executable, "-m", "systems.triage_bot", "sandbox", "--port", "0"]
    said = tmp_path / "said"
    with said.open("w") as out, subprocess.Popen(words, env=env, stdout=out, stderr=out) as started:
        try:
            page, bot = addresses(said)
            assert "Triage sandbox" in httpx.get(page).text
            assert httpx.get(f"{bot}/health").json()["status"] == "ok"
            started.send_signal(signal.SIGINT)
            assert started.wait(30) == 0
        finally:
            started.kill()
    assert "Traceback" not in said.read_text()
    said.unlink()
    assert list(tmp_path.iterdir()) == []


def addresses(said: Path) -> list[str]:
    """Of the page and of the bot, as the command tells them."""
    end = time.monotonic() + 30
    while len(found := re.findall(r"http://127\.0\.0\.1:\d+", said.read_text())) < 2:
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.05)
    return found


def test_another_site_cannot_play(slack: Sandbox) -> None:
    """A browser that comes from elsewhere is refused."""
    headers = {"Origin": "http://elsewhere.example"}
    deed = {"user": "UADMIN001", "kind": "home"}
    assert httpx.post(f"{slack.page}/play", json=deed, headers=headers).status_code != 200
    assert slack.workspace.homes == {}


def test_a_sprint_is_played(slack: Sandbox, open_page: OpenPage) -> None:
    """Enter the first sprint, ask for an override, approve it: each sees what concerns them."""
    page = open_page(slack.page)
    page.get_by_text("No sprint has begun.").or_(page.get_by_text("On call now")).first.wait_for()
    page.get_by_role("button", name="# triage", exact=True).click()
    page.get_by_label("Command or message").fill("/admin-sprints")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Enter it now").click()
    page.get_by_text("Sprint 1 is next").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("article").filter(has_text="On call now").wait_for()

    page.get_by_label("You are").select_option(ANA)
    page.get_by_label("Command or message").fill("/triage-override")
    page.keyboard.press("Enter")
    page.get_by_label("Your shift").select_option(index=1)
    page.get_by_label("Who takes it").select_option(ANA)
    page.get_by_role("button", name="Send").last.click()
    page.get_by_text("Somebody else must take it.").wait_for()
    page.get_by_label("Who takes it").select_option(BEN)
    page.get_by_label("Why (optional)").fill("<b>ill</b>")
    page.get_by_role("button", name="Send").last.click()
    page.get_by_role("dialog").wait_for(state="hidden")

    page.get_by_label("You are").select_option(ADA)
    page.get_by_role("button", name="# triage-admins").click()
    page.get_by_text("<b>ill</b>").wait_for()
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved by").wait_for()
    assert page.get_by_role("button", name="Approve").count() == 0

    page.get_by_label("You are").select_option(BEN)
    page.get_by_role("button", name="App Home").click()
    page.get_by_text(re.compile("PO in Sprint 0")).wait_for()
    page.get_by_role("button", name="Messages from the bot").click()
    page.get_by_text("You stand in for").wait_for()


def test_a_mention(slack: Sandbox, open_page: OpenPage) -> None:
    """On a phone: a message to the bot is answered in its thread."""
    page = open_page(slack.page, phone=True, dark=True)
    page.get_by_role("button", name="# triage", exact=True).click()
    page.get_by_label("Command or message").fill("checkout is down")
    page.get_by_role("button", name="Send").first.click()
    page.get_by_text("SEV1 (Critical)").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
