"""Merging rows that others refer to, against one hand-written transaction that archives nothing."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common import KEY_RULE, TABLE, Copies, Line, Options, Subject, server, table, timed
from bench.tool import work

CHILDREN = (
    f"""CREATE TABLE marks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        selection_id bigint NOT NULL REFERENCES {TABLE}, mark text)""",
    f"INSERT INTO marks (selection_id, mark) SELECT id, 'm' FROM {TABLE} WHERE id % 2 = 0",
    "CREATE INDEX ON marks (selection_id)",
)
BY_HAND = (
    f"""CREATE TEMPORARY TABLE losers ON COMMIT DROP AS
        SELECT id, keeper FROM (
            SELECT id, first_value(id) OVER (
                PARTITION BY workout_id ORDER BY updated_at DESC, id) AS keeper
            FROM {TABLE}) AS ranked
        WHERE id <> keeper""",
    "ANALYZE losers",
    "UPDATE marks SET selection_id = keeper FROM losers WHERE selection_id = losers.id",
    f"DELETE FROM {TABLE} USING losers WHERE {TABLE}.id = losers.id",
)


def measure(options: Options) -> Iterator[Line]:
    """Merge, with children re-pointed, against one transaction by hand."""
    hand: list[float] = []
    merges: list[float] = []
    batches: list[float] = []
    with server(options) as started:
        copies = Copies(started, *table(options), *CHILDREN)
        for _ in range(options.rounds):
            with copies.fresh() as url:
                hand.append(timed(url, *BY_HAND)[0])
            with copies.fresh() as url:
                done = work(url, KEY_RULE, "apply")["apply"]
            merges.append(done.seconds_of("merge_duplicates"))
            batches.append(1000 * done.longest_of("merge_duplicates"))
    yield Line(
        what=f"merge with children re-pointed, {options}",
        against="one transaction by hand",
        ours=merges,
        other=hand,
        target=1.1,
    )
    yield Line(
        what=f"longest batch of it, {options}", ours=batches, unit="ms", target=150, worst=True
    )


SUBJECTS = (Subject(name="children", measure=measure, options=Options(share=0.2, config="tuned")),)
