"""Finding duplicates: onerow's pass against GROUP BY … HAVING and count(DISTINCT …).

python bench/detect.py --rows 5000000 --share 0.01
"""

from __future__ import annotations

from common import RULE, TABLE, arguments, median, seconds, server, show, template

from onerow import api
from onerow.database import Database, run
from onerow.dialects import dialect
from onerow.keys import bind_key
from onerow.measure import key_facts, reading
from onerow.rulefile import parse_rules

PLAIN = f"SELECT workout_id, count(*) FROM {TABLE} GROUP BY workout_id HAVING count(*) > 1"
DISTINCT = f"SELECT count(*) - count(DISTINCT workout_id) FROM {TABLE}"


def main() -> None:
    options = arguments(__doc__ or "")
    with server(options) as started:
        database = Database(started.url_of(template(started, options)))
        rules = parse_rules(RULE).rules
        bound = bind_key(rules[0], api.snapshot(database))  # type: ignore[arg-type]
        talk = dialect("postgresql")

        def ours() -> None:
            with reading(database) as connection:
                facts = key_facts(connection, bound, talk)
            assert facts.violations.rows == options.rows - int(options.rows * (1 - options.share))

        def plain(sql: str) -> None:
            with database.connect() as connection:
                run(connection, sql).all()

        ways = {"onerow": ours, "having": lambda: plain(PLAIN), "distinct": lambda: plain(DISTINCT)}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.runs):
            for name, way in ways.items():
                times[name].append(seconds(way))
    print(f"{options.rows:,} rows, {options.share:.0%} duplicates, tuned: {options.tuned}")
    show("GROUP BY … HAVING", times["having"])
    show("count(DISTINCT)", times["distinct"])
    show("onerow, to HAVING", times["onerow"], times["having"])
    show("onerow, to count(DISTINCT)", times["onerow"], times["distinct"])
    print(f"ratio {median(times['onerow']) / median(times['having']):.3f}")


if __name__ == "__main__":
    main()
