"""The search: which schedules there are, in which order they are run, which need no run. Pure.

It is a walk over the tree of choices without any stored state: a schedule is run from the start,
along a prefix and then without preemption; every other choice that it passes is put aside, in
the order of its preemptions (Musuvathi and Qadeer, "Iterative context bounding", 2007). So the
first failure has few of them.

Pruning is by sleep sets (Godefroid, "Partial-order methods", 1996): what was chosen at a node
before stays asleep in the later branches of that node until a step that depends on it is made. It
holds for a search without bound only: a schedule within the bound may be equivalent to one outside.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from onerow.race.dependency import Footprint, dependent


class Moment(Protocol):
    """What a policy sees when it chooses; see `runner.Node`."""

    enabled: list[int]
    last: int | None
    footprints: dict[int, Footprint]
    words: dict[int, str]
    made: Footprint | None


@dataclass(order=True, slots=True)
class Task:
    """A schedule to be run: its beginning, and who is asleep at its last choice."""

    preemptions: int
    order: float
    prefix: tuple[int, ...] = field(compare=False)
    asleep: frozenset[int] = field(compare=False, default=frozenset())
    words: tuple[str, ...] = field(compare=False, default=())  #: what is done at each choice


#: Preemptions, choices, who is asleep, what is done at each choice.
Branch: TypeAlias = tuple[int, tuple[int, ...], frozenset[int], tuple[str, ...]]


class Diverged(Exception):
    """A worker did not do again what it did before: it is not deterministic."""


class Search:
    """The schedules that are left to run.

    Args:
        bound: most preemptions, None for no bound.
        prune: leave out what is equivalent to another schedule.
        seed: 0 runs them in their natural order; another number shuffles those of one bound.
    """

    def __init__(self, *, bound: int | None = None, prune: bool = True, seed: int = 0) -> None:
        self.bound = bound
        self.prune = prune and bound is None
        self._random = random.Random(seed) if seed else None
        self._counter = itertools.count()
        self._heap = [Task(0, 0.0, ())]
        self.cut = False  #: something was left out for the bound

    def __bool__(self) -> bool:
        return bool(self._heap)

    def pop(self) -> Task:
        return heapq.heappop(self._heap)

    def add(self, branch: Branch) -> None:
        preemptions, prefix, asleep, words = branch
        if self.bound is not None and preemptions > self.bound:
            self.cut = True
            return
        order = self._random.random() if self._random else next(self._counter)
        heapq.heappush(self._heap, Task(preemptions, order, prefix, asleep, words))


class Exploring:
    """The policy of one run of a search. Branches are handed over by `branches` when it is done."""

    def __init__(self, search: Search, task: Task) -> None:
        self._search = search
        self._task = task
        self._taken: list[int] = []
        self._asleep = task.asleep
        self._footprints: Mapping[int, Footprint] = {}
        self._preemptions = 0
        self._found: list[Branch] = []
        self._words: list[str] = []
        self.redundant = False

    def choose(self, node: Moment) -> int:
        place = len(self._taken)
        if place < len(self._task.prefix):
            chosen = self._task.prefix[place]
            if chosen not in node.enabled or node.words[chosen] != self._task.words[place]:
                raise Diverged
        else:
            chosen = self._beyond(node)
        self._words.append(node.words[chosen])
        self._footprints = dict(node.footprints)
        self._preemptions += _cost(node, chosen)
        self._taken.append(chosen)
        return chosen

    def _beyond(self, node: Moment) -> int:
        if not self._search.prune:
            return self._branch(node, node.enabled)
        if self._taken and node.made is not None:
            self._asleep = frozenset(i for i in self._asleep if self._still_asleep(i, node.made))
        free = [i for i in node.enabled if i not in self._asleep]
        if not free:
            # All that could follow was run already; it is only brought to its end.
            self.redundant = True
        if self.redundant:
            return _preferred(node, node.enabled)
        return self._branch(node, free)

    def _still_asleep(self, session: int, made: Footprint) -> bool:
        own = self._footprints.get(session)
        return own is not None and not dependent(own, made)

    def _branch(self, node: Moment, candidates: Sequence[int]) -> int:
        chosen = _preferred(node, candidates)
        asleep = self._asleep | {chosen}
        for other in sorted(set(candidates) - {chosen}):
            prefix = (*self._taken, other)
            words = (*self._words, node.words[other])
            self._found.append((self._preemptions + _cost(node, other), prefix, asleep, words))
            asleep = asleep | {other}
        return chosen

    def hand_over(self) -> None:
        """The run counts: its branches are to be run, too."""
        for branch in self._found:
            self._search.add(branch)


def _preferred(node: Moment, candidates: Sequence[int]) -> int:
    """Without preemption where that is possible."""
    return node.last if node.last is not None and node.last in candidates else min(candidates)


def _cost(node: Moment, chosen: int) -> int:
    return int(node.last is not None and node.last in node.enabled and chosen != node.last)


class Following:
    """The policy that follows a script as far as the sessions can, then goes on without preemption.

    Args:
        choices: the schedule.
        strict: raise Diverged where it cannot be followed; otherwise the step is skipped.
    """

    def __init__(self, choices: Sequence[int], *, strict: bool = False) -> None:
        self._left = list(choices)
        self._strict = strict
        self.skipped = 0

    def choose(self, node: Moment) -> int:
        while self._left:
            chosen = self._left.pop(0)
            if chosen in node.enabled:
                return chosen
            if self._strict:
                raise Diverged
            self.skipped += 1
        return _preferred(node, node.enabled)


def simpler(choices: Sequence[int]) -> list[tuple[int, ...]]:
    """Schedules of the same steps with fewer switches of session: candidates of a minimisation.

    Each moves one block of a session's steps next to that session's previous or next block.
    """
    blocks = [(key, len(list(group))) for key, group in itertools.groupby(choices)]
    found = []
    for i, (session, _) in enumerate(blocks):
        for j, (other, _) in enumerate(blocks):
            if other == session and abs(i - j) > 1:
                moved = [b for k, b in enumerate(blocks) if k != i]
                place = j if j < i else j - 1
                moved.insert(place + (j < i), blocks[i])
                found.append(tuple(s for s, n in moved for _ in range(n)))
    unique = sorted(set(found) - {tuple(choices)}, key=switches)
    return [c for c in unique if switches(c) < switches(choices)]


def switches(choices: Sequence[int]) -> int:
    """How often a schedule goes from one session to another."""
    return sum(1 for a, b in itertools.pairwise(choices) if a != b)
