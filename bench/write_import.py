"""What importing `onerow.write` and a verb costs beside importing SQLAlchemy.

python bench/write_import.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CASES = {
    "import sqlalchemy": "import sqlalchemy",
    "import sqlalchemy.orm": "import sqlalchemy.orm",
    "import onerow.write": "import onerow.write",
    "from onerow.write import upsert": "from onerow.write import upsert, conflict_of",
}


def seconds(code: str) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    empty = seconds("pass")
    base = seconds(CASES["import sqlalchemy"]) - empty
    for name, code in CASES.items():
        took = seconds(code) - empty
        print(f"{name:40s} {took * 1000:7.1f} ms   {took / base:5.2f} × importing SQLAlchemy")
