"""The options that bound how much a change may get in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from onerow.session import Limits

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS = click.FloatRange(min=0, min_open=True)

#: Option -> what it bounds. Each is a field of `Limits` in seconds, with its default there.
_OPTIONS = {
    "--lock-timeout": "How long one try may wait for a strong lock, with others behind it",
    "--batch-time": "How long a batch should take",
    "--max-lag": "How far a standby may be behind before batches wait (PostgreSQL)",
    "--budget": "How long the whole run may take; it stops in between, and can be gone on with",
    "--build-budget": "How long one concurrent index build may take",
}


_PAUSE = "--pause-when"


def limit_options(*names: str) -> Callable[[F], F]:
    """Options of these names, in this order; all of them when none is named."""

    def decorate(function: F) -> F:
        for name in reversed(names or (*_OPTIONS, _PAUSE)):
            function = _option(name)(function)
        return function

    return decorate


def _option(name: str) -> Callable[[F], F]:
    if name == _PAUSE:
        told = "An SQL condition; while it is true, no batch begins. It is asked read-only."
        return click.option(name, metavar="SQL", help=told)
    sentence, default = _OPTIONS[name], getattr(Limits(), _field(name))
    shown = f"{sentence}, in seconds." + (f"  [default: {default:g}]" if default else "")
    return click.option(name, type=_SECONDS, metavar="SECONDS", help=shown)


def limits_of(options: Mapping[str, float | str | None]) -> Limits:
    """The limits that were given, and the defaults of the others."""
    given: dict[str, Any] = {n: v for n, v in options.items() if v is not None}
    return Limits(**given)


def _field(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
