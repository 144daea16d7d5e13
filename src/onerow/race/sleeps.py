"""Sleeping that takes no time, inside workers only.

A worker that backs off before a retry waits for nothing that the explorer could see: time does not
order its steps, the schedule does. So `time.sleep` and `asyncio.sleep` return at once there; what
calls them (tenacity, stamina, loops of one's own) need not know.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def virtual_sleep(asleep: Callable[[], bool]) -> Iterator[None]:
    """Replaces both sleeps while the block runs.

    Args:
        asleep: called for each; true when the caller is a worker, whose sleep is to be none.
    """
    real, real_async = time.sleep, asyncio.sleep

    def sleep(seconds: float, /) -> None:
        if not asleep():
            real(seconds)

    async def sleep_async(delay: float, result: Any = None) -> Any:
        return await real_async(0 if asleep() else delay, result)

    changed = [*_put(real, sleep), *_put(real_async, sleep_async)]
    try:
        yield
    finally:
        for module, original in changed:
            vars(module)["sleep"] = original


def _put(original: Any, instead: Any) -> list[tuple[Any, Any]]:
    """Replaces it in every module that has it under its name (`from time import sleep`)."""
    found = [m for m in list(sys.modules.values()) if _has(m, original)]
    for module in found:
        vars(module)["sleep"] = instead
    return [(module, original) for module in found]


def _has(module: Any, original: Any) -> bool:
    return getattr(module, "__dict__", {}).get("sleep") is original
