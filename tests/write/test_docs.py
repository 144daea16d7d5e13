"""The examples of the documentation run, page by page, on either engine."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import django.conf
import django.urls
import django.utils.functional
import pytest
import sqlalchemy as sa

from onerow import write
from onerow.write import observe
from tests.write.support import sync_url

PAGES = Path(__file__).parents[2] / "docs" / "writes"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
VERBS = [
    "advance",
    "bulk_upsert",
    "claim",
    "get_or_create",
    "operation",
    "patch",
    "restore_or_create",
    "singleton",
    "transactional",
    "upsert",
]


@pytest.mark.parametrize("page", sorted(p.stem for p in PAGES.glob("*.md")))
def test_page(page: str, db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of the page runs, in order, with an engine over an empty database."""
    source = (PAGES / f"{page}.md").read_text()
    engine = sa.create_engine(sync_url(db_url))
    module = ModuleType(f"docs_{page}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where annotations are looked up
    _without_django_settings(monkeypatch)
    vars(module)["engine"] = engine
    try:
        for block in BLOCK.finditer(source):
            line = source[: block.start()].count("\n") + 1
            text = "\n" * line + block.group(1)
            exec(compile(text, f"{page}.md", "exec", dont_inherit=True), vars(module))
    finally:
        observe()
        engine.dispose()
    if page != "index":
        assert BLOCK.search(source)


def _without_django_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django has one set of settings in a process; a page brings its own."""
    monkeypatch.setattr(django.conf.settings, "_wrapped", django.utils.functional.empty)
    django.urls.clear_url_caches()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page(verb: str) -> None:
    """A verb has a page that names the race it closes, and the index leads to it."""
    text = (PAGES / f"{verb}.md").read_text()
    assert "**The race.**" in text
    assert f"({verb}.md)" in (PAGES / "index.md").read_text()
    assert verb in write.__all__
