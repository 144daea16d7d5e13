"""A runner that only claims: `python -m bench.claimer URL SEED`; it ends when nothing is left."""

from __future__ import annotations

import random
import sys
from datetime import timedelta

from systems.report_weeks.ledger import Ledger
from systems.report_weeks.store import Store
from systems.shared.address import open_engine

AT_ONCE = 10  #: as a runner claims


def _main(url: str, seed: str) -> None:
    engine = open_engine(url, connections=1)
    collections = Store(engine).unfinished()
    random.Random(seed).shuffle(collections)
    ledger = Ledger(engine, f"bench:{seed}", timedelta(hours=1))
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(_all(ledger, c) for c in collections), flush=True)


def _all(ledger: Ledger, collection: str) -> int:
    count = 0
    while claims := ledger.claim(collection, AT_ONCE):
        count += len(claims)
    return count


if __name__ == "__main__":
    _main(*sys.argv[1:])
