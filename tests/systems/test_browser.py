"""The browser that the tests of pages work with, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.browser import OpenPage

ROOT = Path(__file__).parents[2]


def test_pages_are_shown(open_page: OpenPage) -> None:
    """A page runs its scripts, on a phone and in the dark, too."""
    script = "<title>no</title><script>document.title = 'yes'</script>"
    page = open_page(f"data:text/html,{script}", phone=True, dark=True)
    assert page.title() == "yes"
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert page.evaluate("innerWidth") < 1000


def test_errors_of_a_page_are_not_lost(pytester_like: Path) -> None:
    """A script that raises fails the test that opened the page."""
    done = run_test(pytester_like, "data:text/html,<script>nothing.here()</script>")
    assert done.returncode == 1
    assert "nothing is not defined" in done.stdout


@pytest.mark.parametrize(("ci", "code", "said"), [("", 0, "skipped"), ("true", 1, "There is no")])
def test_without_a_browser(pytester_like: Path, ci: str, code: int, said: str) -> None:
    """Skipped and said so; a failure where CI is true."""
    gone = {"ONEROW_TEST_BROWSER": "/nowhere/chromium", "CI": ci}
    done = run_test(pytester_like, "about:blank", **gone)
    assert done.returncode == code, done.stdout
    assert said in done.stdout
    script = subprocess.run(
        ["sh", str(ROOT / "tools" / "browser.sh")],
        env=os.environ | gone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == code
    assert "THE BROWSER TESTS ARE SKIPPED" in script.stderr


@pytest.fixture
def pytester_like(tmp_path: Path) -> Path:
    """A folder with one test that opens the page which the environment names."""
    (tmp_path / "test_it.py").write_text(
        "import os\n"
        "from tests.support.browser import browser, open_page\n"
        "def test_it(open_page):\n"
        "    open_page(os.environ['PAGE'])\n"
    )
    return tmp_path


def run_test(folder: Path, page: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PAGE": page} | env,
        capture_output=True,
        text=True,
        check=False,
    )
