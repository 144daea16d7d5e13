"""Accountants at work: they post, save again and change, until the block ends."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from systems.execution_data.claims import Claims
from tests.systems.execution.support import ROOT
from tests.systems.serving import PATIENCE, TOKENS

HONEST = {200, 201, 409}


@dataclass(slots=True)
class Clients:
    """Each is the accountant of a facility, and writes to random activities.

    Attributes:
        sends_facility: they have been released anew: their payload carries the facility.
        saved: the facility that saved a row, by the row's id.
    """

    address: str
    periods: int
    activities: int
    facilities: tuple[int, ...] = (1, 2, 3)
    pause: float = 0.01
    sends_facility: bool = False
    statuses: Counter[int] = field(default_factory=Counter)
    saved: dict[int, int] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Clients:
        self._threads = [
            threading.Thread(target=self._work, args=(f,), daemon=True) for f in self.facilities
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(4 * PATIENCE)

    def after(self, saves: int) -> None:
        """Wait until so many more rows are saved."""
        wanted, end = self.statuses[201] + saves, time.monotonic() + 4 * PATIENCE
        while self.statuses[201] < wanted:
            assert time.monotonic() < end, (self.statuses, self.surprises)
            time.sleep(0.01)

    def _work(self, facility: int) -> None:
        dice = random.Random(facility)
        said = Claims(sub=f"f{facility:03d}.accountant1", role="ACCOUNTANT", facility_id=facility)
        headers = {"Authorization": f"Bearer {TOKENS.mint(said, 3600)}"}
        ours = {"facilityId": facility} if self.sends_facility else {}
        with httpx.Client(base_url=self.address, headers=headers, timeout=4 * PATIENCE) as http:
            mine: list[int] = []
            while not self._stop.is_set():
                if mine and dice.random() < 0.3:
                    body: dict[str, Any] = {"q3Amount": dice.randrange(1000), **ours}
                    self._note(lambda b=body: http.patch(f"{ROOT}/{dice.choice(mine)}", json=b))
                else:
                    body = {
                        "reportingPeriodId": dice.randint(1, self.periods),
                        "activityId": dice.randint(1, self.activities),
                        "q1Amount": dice.randrange(1000),
                        **ours,
                    }
                    answer = self._note(lambda b=body: http.post(ROOT, json=b))
                    if answer is not None and answer.status_code == 201:
                        mine.append(answer.json()["id"])
                        self.saved[mine[-1]] = facility
                time.sleep(self.pause)

    def _note(self, call: Any) -> httpx.Response | None:
        try:
            answer: httpx.Response = call()
        except httpx.HTTPError as error:
            self.surprises.append(repr(error))
            return None
        self.statuses[answer.status_code] += 1
        if answer.status_code not in HONEST:
            self.surprises.append(f"{answer.status_code}: {answer.text}")
        return answer
