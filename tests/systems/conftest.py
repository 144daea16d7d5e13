"""What tests of the systems may ask for besides: a browser (tests/support/browser.py)."""

from __future__ import annotations

from tests.support.browser import browser, open_page

__all__ = ["browser", "open_page"]
