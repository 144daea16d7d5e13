"""Enforcing a key online, against CREATE UNIQUE INDEX, for which every writer waits."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common import KEY_RULE, TABLE, Copies, Line, Options, Subject, server, table, timed
from bench.tool import work


def measure(options: Options) -> Iterator[Line]:
    """Build and attach a unique key online, against CREATE UNIQUE INDEX."""
    plain: list[float] = []
    ours: list[float] = []
    attach: list[float] = []
    with server(options) as started:
        copies = Copies(started, *table(options))
        for _ in range(options.rounds):
            with copies.fresh() as url:
                plain.append(timed(url, f"CREATE UNIQUE INDEX plain ON {TABLE} (workout_id)")[0])
            with copies.fresh() as url:
                done = work(url, KEY_RULE, "apply")["apply"]
            ours.append(done.seconds_of("create_index") + done.seconds_of("attach_constraint"))
            attach.append(1000 * done.longest_of("attach_constraint"))
    yield Line(
        what=f"unique key, built and attached online, {options}",
        against="CREATE UNIQUE INDEX",
        ours=ours,
        other=plain,
        target=1.6,
    )
    yield Line(what=f"lock while it is attached, {options}", ours=attach, unit="ms", target=50)


SUBJECTS = (
    Subject(
        name="build", measure=measure, options=Options(rows=5_000_000, share=0, config="tuned")
    ),
)
