"""Where writes tell what happened. Nobody listens at first; `metrics.py` has listeners.

A listener is any object with some of the methods named here; it must not raise and not block.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("onerow.write")
active: tuple[Any, ...] = ()


def observe(*listeners: Any) -> None:
    """Tell these listeners from now on (`onerow.write.metrics.Prometheus()`, …); none: nobody.

    Args:
        *listeners: objects with any of the methods `wrote`, `raced`, `conflicted`, `retried`,
            `finished`, `spooled`.
    """
    global active
    active = listeners


def _tell(method: str, *facts: Any) -> None:
    for listener in active:
        told = getattr(listener, method, None)
        if told is not None:
            told(*facts)


def wrote(verb: str, table: str, outcome: str, seconds: float) -> None:
    """A verb is done."""
    _tell("wrote", verb, table, outcome, seconds)


def raced(verb: str, table: str) -> None:
    """A verb found that another writer was faster, and went on from what that one had written."""
    log.info("race", extra={"onerow": {"verb": verb, "table": table}})
    _tell("raced", verb, table)


def conflicted(kind: str, constraint: str | None, table: str | None) -> None:
    """A constraint refused a write."""
    log.info(
        "conflict",
        extra={"onerow": {"kind": kind, "constraint": constraint, "table": table}},
    )
    _tell("conflicted", kind, constraint or "", table or "")


def retried(function: str, kind: str, attempt: int, delay: float) -> None:
    """A transaction failed with something that passes, and will be run again."""
    log.info(
        "retry",
        extra={"onerow": {"function": function, "kind": kind, "attempt": attempt, "delay": delay}},
    )
    _tell("retried", function, kind, attempt, delay)


def finished(function: str, result: str, attempts: int, seconds: float) -> None:
    """A transactional function is done: ``done``, ``failed`` or ``given_up``."""
    _tell("finished", function, result, attempts, seconds)


def spooled(event: str, depth: int, age: float) -> None:
    """The spool changed: ``spooled``, ``applied``, ``failed``, ``started`` or ``ended``."""
    log.info("spool", extra={"onerow": {"event": event, "depth": depth, "age": age}})
    _tell("spooled", event, depth, age)
