"""The checks: one module each, whose name is its id; this walk over the package is the registry.

A check first *asks*: it looks at the catalog and yields probes, named and costed questions to the
rows. Then it *judges* by the answers. Both are pure, so every query can be listed without running
it, and a check is tested without a database. `u101_duplicate_key_rows` is the one to read first.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import ModuleType

from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.errors import InputError, nearest
from onerow.finding import SEVERITIES, CheckResult, Finding
from onerow.report.words import count
from onerow.sql import comma

_ID = re.compile(r"[a-z]\d{3}_[a-z0-9_]+")
_MOST_REASONS = 3  #: that a skipped check gives


@dataclass(frozen=True)
class Check:
    """One diagnosis.

    Attributes:
        id: `U101-duplicate-key-rows`.
        module: what asks and judges.
    """

    id: str
    module: ModuleType

    @property
    def title(self) -> str:
        """What it finds, in a sentence."""
        return self.page.partition("\n")[0]

    @property
    def page(self) -> str:
        """What it asks, why it matters, an example, the fix, when to ignore it."""
        return (self.module.__doc__ or "").strip()

    @property
    def applies(self) -> Applies:
        found: Applies = self.module.applies
        return found

    def ask(self, context: Context) -> Iterator[Probe]:
        found: Iterator[Probe] = self.module.ask(context)
        return found

    def judge(self, context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
        found: Iterator[Finding | Consequence] = self.module.judge(context, answers)
        return found


@cache
def registry() -> tuple[Check, ...]:
    """All checks, by id."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if _ID.fullmatch(m.name))
    return tuple(Check(_check_id(n), import_module(f"{__name__}.{n}")) for n in names)


def _check_id(module: str) -> str:
    head, _, rest = module.partition("_")
    return f"{head.upper()}-{rest.replace('_', '-')}"


def select(only: Iterable[str] = (), skip: Iterable[str] = ()) -> tuple[Check, ...]:
    """The checks to make.

    Args:
        only: ids or their beginnings (`U101`, `U`, `U101-duplicate-key-rows`); none means all.
        skip: ids or their beginnings.

    Raises:
        InputError: a word that no id begins with.
    """
    words = tuple(only)
    wanted = set(_meant(words)) if words else {c.id for c in registry()}
    wanted -= set(_meant(skip))
    return tuple(c for c in registry() if c.id in wanted)


def _meant(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        ids = [c.id for c in registry()]
        found = [i for i in ids if i.casefold().startswith(word.casefold())]
        if not found or not word:
            hint = nearest(word, ids)
            raise InputError(f"There is no check {word!r}.", hint=hint)
        yield from found


# -- asking -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inquiry:
    """What the checks ask, and which ones do not."""

    checks: tuple[Check, ...]
    asked: Mapping[str, tuple[Probe, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Each question once, the cheapest first."""
        unique = {p.sql: p for probes in self.asked.values() for p in probes}
        return tuple(sorted(unique.values(), key=lambda p: p.pages))


def ask(context: Context, checks: Sequence[Check]) -> Inquiry:
    """Let the checks ask. A check that fails here is told of, and stops no other."""
    asked: dict[str, tuple[Probe, ...]] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for check in checks:
        reason = check.applies.reason_against(context)
        if reason:
            skipped[check.id] = reason
            continue
        try:
            asked[check.id] = tuple(check.ask(context))
        except Exception as error:
            failed[check.id] = _failure(error)
    return Inquiry(tuple(checks), asked, skipped, failed)


def _failure(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


# -- judging ------------------------------------------------------------------------------------


def judge(
    context: Context, inquiry: Inquiry, answers: Answers
) -> tuple[tuple[Finding, ...], tuple[CheckResult, ...]]:
    """What the checks find, the worst first, and how each of them ended."""
    judged: dict[str, list[Finding | Consequence]] = {}
    failed = dict(inquiry.failed)
    for check in inquiry.checks:
        if check.id in inquiry.asked:
            try:
                judged[check.id] = list(check.judge(context, answers))
            except Exception as error:
                failed[check.id] = _failure(error)
    found = [f for several in judged.values() for f in several]
    told = dict(_told_already(found))
    kept = [f for f in map(_plain, found) if (f.check, f.fingerprint) not in told]
    results = tuple(_result(c.id, inquiry, failed, kept, told, answers) for c in inquiry.checks)
    return tuple(sorted(kept, key=_worst_first)), results


def _plain(found: Finding | Consequence) -> Finding:
    return found.finding if isinstance(found, Consequence) else found


def _worst_first(finding: Finding) -> tuple[int, bool, str, str]:
    rank = -SEVERITIES.index(finding.severity)
    return rank, finding.confidence == "hint", finding.check, finding.object


_Same = tuple[str, str]  # check and fingerprint of a finding


def _told_already(found: Sequence[Finding | Consequence]) -> Iterator[tuple[_Same, str]]:
    """Findings that follow from another one which is reported, with the check that reports it."""
    there = {(f.check, f.object) for f in map(_plain, found)}
    for one in found:
        causes = [c for c in one.of if c in there] if isinstance(one, Consequence) else []
        if causes:
            finding = _plain(one)
            yield (finding.check, finding.fingerprint), causes[0][0]


def _result(
    check: str,
    inquiry: Inquiry,
    failed: Mapping[str, str],
    findings: Sequence[Finding],
    told: Mapping[_Same, str],
    answers: Answers,
) -> CheckResult:
    if check in failed:
        return CheckResult(check=check, outcome="error", reason=failed[check])
    if check in inquiry.skipped:
        return CheckResult(check=check, outcome="skipped", reason=inquiry.skipped[check])
    open_ = _unanswered(inquiry.asked[check], answers)
    if any(f.check == check for f in findings):
        return CheckResult(check=check, outcome="found", reason=open_)
    elsewhere = sorted({by for (consequence, _), by in told.items() if consequence == check})
    if elsewhere:
        return CheckResult(check=check, outcome="found", reason=f"told by {comma(elsewhere)}")
    return CheckResult(check=check, outcome="skipped" if open_ else "ok", reason=open_)


def _unanswered(probes: Sequence[Probe], answers: Answers) -> str:
    """Why some of the questions have no answer."""
    reasons = dict.fromkeys(f"{p.about}: {answers[p].reason}" for p in probes if answers[p].reason)
    if not reasons:
        return ""
    shown = list(reasons)[:_MOST_REASONS]
    more = len(reasons) - len(shown)
    shown += [f"and {count(more, 'other question')}"] if more else []
    return "; ".join(shown)


__all__ = ["Check", "Inquiry", "ask", "judge", "registry", "select"]
