"""Ctrl-C while a batch is at work: it comes to its end first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def finishing() -> Iterator[Callable[[], bool]]:
    """Put the first Ctrl-C off to the end of the block; a second one has its way at once.

    Yields whether there was one. Where somebody else handles SIGINT, that stays his, and signals
    reach the main thread only (signal, "Execution of Python signal handlers").

    Raises:
        KeyboardInterrupt: at the end of the block, when there was one.
    """
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if not _is_ours():
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt


def _is_ours() -> bool:
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
