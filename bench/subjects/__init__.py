"""One module a subject; each has `SUBJECTS`, and nothing else lists them."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from bench.common import Subject


def subjects() -> dict[str, Subject]:
    """All of them, by name."""
    modules = [import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {s.name: s for m in modules for s in m.SUBJECTS}
