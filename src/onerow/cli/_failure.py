"""From an exception to a sentence, a document and an exit code. The one place that catches all."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import click
from rich.text import Text

from onerow.cli._output import Output
from onerow.errors import ConnectionLost, DatabaseError, OnerowError
from onerow.report import json as documents
from onerow.report.words import clean

DEBUG = "ONEROW_DEBUG"
INTERRUPTED = 130  #: as a shell says it: 128 + SIGINT

BEGUN = "`onerow status` tells where it stands."

_IN_URL = re.compile(r"(:/+[^/\s:@]*):\S*@")
_IN_QUERY = re.compile(r"(?i)\b([\w-]*(?:pass|pwd|secret|token|key)[\w-]*)=(?!=)[^&\s'\"),]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    code: str
    message: str
    hint: str = ""
    exit_code: int = 2
    more: dict[str, Any] = field(default_factory=dict)


def redact(text: str) -> str:
    """Text without the passwords of URLs that are in it, the user's own typing included."""
    text = _IN_QUERY.sub(r"\1=***", _IN_URL.sub(r"\1:***@", text))
    password = os.environ.get("PGPASSWORD", "")
    # A short one would be found in every other word.
    return text.replace(password, "***") if len(password) > 3 else text


def tell(error: BaseException, words: Sequence[str]) -> int:
    """Say what went wrong, and return the exit code. `words` is the command line."""
    failure = describe(error, words)
    as_json = (
        "--json" in words or "--format=json" in words or ("--format", "json") in pairwise(words)
    )
    output = Output(json=as_json, no_color="--no-color" in words)
    message, hint = redact(failure.message), redact(failure.hint)
    text = Text("Error: ", style="bold red").append(clean(message, lines=True), style="not bold")
    output.warn(text.append(f"\n{clean(hint)}" if hint else "", style="default not bold"))
    if as_json:
        output.write_json(documents.error(failure.code, message, hint, **failure.more))
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        output.stderr.write(redact("".join(traceback.format_exception(error))))
        output.stderr.flush()
    return failure.exit_code


def describe(error: BaseException, words: Sequence[str]) -> Failure:
    """What is told of an exception."""
    match error:
        case OnerowError():
            return _ours(error, words)
        case click.ClickException():
            return _usage(error)
        case click.Abort() | KeyboardInterrupt():
            return _interrupted(words)
        case _:
            return _unexpected(error)


def _ours(error: OnerowError, words: Sequence[str]) -> Failure:
    hint = error.hint
    if not hint and type(error) in (DatabaseError, ConnectionLost) and _writing(words):
        hint = BEGUN
    state = error.sqlstate if isinstance(error, DatabaseError) else None
    return Failure(
        code=re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower(),
        message=error.message,
        hint=hint,
        exit_code=error.exit_code,
        more={"sqlstate": state} if state else {},
    )


def _usage(error: click.ClickException) -> Failure:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "onerow"
    return Failure(
        code="usage_error", message=error.format_message(), hint=f"`{path} --help` tells more."
    )


def _writing(words: Sequence[str]) -> bool:
    """It is a verb that writes: what it had begun, if anything, is in the journal."""
    return not {"apply", "undo"}.isdisjoint(words)


def _interrupted(words: Sequence[str]) -> Failure:
    hint = BEGUN if _writing(words) else "Nothing was changed."
    return Failure(code="interrupted", message="Interrupted.", hint=hint, exit_code=INTERRUPTED)


def _unexpected(error: BaseException) -> Failure:
    said = " ".join(str(error).split())
    return Failure(
        code="unexpected_error",
        message=f"This is a bug in onerow: {type(error).__name__}{f': {said}' if said else ''}.",
        hint=f"{DEBUG}=1 shows where it happened.",
    )
