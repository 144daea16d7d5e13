"""What can go wrong, one class per broken fact.

    OnerowError                      exit code 2: could not run
    ├── InputError                   the caller gave something that cannot be used
    │   ├── RuleError                a rule names what is not there, or contradicts itself
    │   ├── RuleFileError            the rule file cannot be read
    │   ├── UrlError                 no database address, or one that is no address
    │   └── PlanFileError            a plan file that is not one, or not readable by this version
    ├── DatabaseError                the server said no
    │   ├── ConnectionFailed         unreachable, wrong password, unknown database
    │   ├── NoPrivilege              the role may not do this
    │   ├── ReadOnlyDatabase         the server or the file takes no writes
    │   └── ConnectionLost           the connection went away while we worked
    ├── Refused                      exit code 1: it could run, and must not
    │   ├── AnotherRunner            somebody else applies or undoes on this database
    │   ├── ForeignPlan              the plan belongs to other rules or other definitions
    │   └── NameTaken                an object bears our name and is not ours
    └── Stopped                      exit code 1: begun, and stopped where it can go on

A message is one sentence of fact and, where there is one, a sentence on the way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class OnerowError(Exception):
    """Something kept onerow from doing what was asked."""

    exit_code = 2

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint
        super().__init__(f"{self.message} {hint}".strip())


class InputError(OnerowError):
    """The input cannot be used."""


class RuleError(InputError):
    """A rule cannot be used on this database."""

    def __init__(self, message: str, *, rule: str = "", hint: str = "") -> None:
        self.rule = rule
        super().__init__(f"Rule {rule}: {message}" if rule else message, hint=hint)


class RuleFileError(InputError):
    """The rule file cannot be read."""


class UrlError(InputError):
    """There is no database address."""


class PlanFileError(InputError):
    """The plan file cannot be read."""


class DatabaseError(OnerowError):
    """The database refused a statement."""

    def __init__(self, message: str, *, sqlstate: str | None = None, hint: str = "") -> None:
        self.sqlstate = sqlstate
        super().__init__(message, hint=hint)


class ConnectionFailed(DatabaseError):
    """The database cannot be reached."""


class NoPrivilege(DatabaseError):
    """The role lacks a privilege."""


class ReadOnlyDatabase(DatabaseError):
    """The database takes no writes."""


class ConnectionLost(DatabaseError):
    """The connection to the database was lost."""


class Refused(OnerowError):
    """Refused before anything was touched."""

    exit_code = 1


class AnotherRunner(Refused):
    """Another onerow run is at work on this database."""


class ForeignPlan(Refused):
    """The plan was made for other rules or other definitions."""


class NameTaken(Refused):
    """An object bears the name that the plan wants to give."""


class Stopped(OnerowError):
    """The run stopped; `onerow apply` goes on where it stopped."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` for the known name most like `name`, or ``''``."""
    candidates = {str(k): str(k).casefold() for k in known}
    folded = name.casefold()
    for original, lower in candidates.items():
        if lower == folded:
            return f"Did you mean {original!r}?"
    close = get_close_matches(folded, list(candidates.values()), n=1, cutoff=0.5)
    if not close:
        return ""
    return f"Did you mean {next(k for k, v in candidates.items() if v == close[0])!r}?"
