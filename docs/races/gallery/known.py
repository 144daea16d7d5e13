"""What the explorer answers, counted: exact, and the same each time."""

from __future__ import annotations

#: Case -> engine -> schedules run until the answer, steps of the failure (0 if there is none),
#: schedules in all, schedules after pruning.
KNOWN: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "Look, then insert": {
        "postgresql": (3, 6, 20, 6),
        "sqlite": (3, 6, 14, 6),
    },
    "Look, then insert, with a unique key": {
        "postgresql": (3, 6, 14, 6),
        "sqlite": (3, 6, 14, 6),
    },
    "The violation caught": {
        "postgresql": (6, 0, 14, 6),
        "sqlite": (6, 0, 14, 6),
    },
    "ON CONFLICT DO NOTHING": {
        "postgresql": (4, 0, 4, 4),
        "sqlite": (4, 0, 4, 4),
    },
    "An advisory lock around look and insert": {
        "postgresql": (4, 0, 8, 4),
    },
    "The parent's row as the lock": {
        "postgresql": (4, 0, 8, 4),
        "sqlite": (4, 8, 50, 8),
    },
    "SERIALIZABLE, and the transaction again": {
        "postgresql": (14, 0, 20, 14),
    },
    "DO NOTHING returns no row": {
        "postgresql": (1, 4, 4, 4),
        "sqlite": (1, 4, 4, 4),
    },
    "Look again after DO NOTHING": {
        "postgresql": (4, 0, 4, 4),
        "sqlite": (4, 0, 4, 4),
    },
    "Two unique keys, one named": {
        "postgresql": (1, 4, 4, 4),
        "sqlite": (1, 4, 4, 4),
    },
    "Two unique keys, none named": {
        "postgresql": (40, 0, 60, 40),
        "sqlite": (30, 0, 30, 30),
    },
    "NULL in the key": {
        "postgresql": (1, 4, 6, 4),
        "sqlite": (1, 4, 4, 4),
    },
    "NULL made a value of the key": {
        "postgresql": (4, 0, 4, 4),
        "sqlite": (4, 0, 4, 4),
    },
    "MERGE": {
        "postgresql": (3, 4, 4, 4),
    },
    "A deferred key": {
        "postgresql": (1, 4, 6, 6),
    },
    "A deferred key, its violation caught around COMMIT": {
        "postgresql": (6, 0, 6, 6),
    },
    "Read, reckon, write": {
        "postgresql": (3, 6, 14, 6),
        "sqlite": (3, 6, 14, 6),
    },
    "Read, reckon, write, of two rows": {
        "postgresql": (1, 0, 20, 1),
        "sqlite": (6, 0, 14, 6),
    },
    "Reckon in the statement": {
        "postgresql": (4, 0, 4, 4),
        "sqlite": (4, 0, 4, 4),
    },
    "SELECT FOR UPDATE": {
        "postgresql": (6, 0, 6, 6),
        "sqlite": (3, 6, 14, 6),
    },
    "A version column, and again": {
        "postgresql": (6, 0, 14, 6),
        "sqlite": (6, 0, 14, 6),
    },
    "REPEATABLE READ alone": {
        "postgresql": (3, 6, 14, 6),
    },
    "REPEATABLE READ, and the transaction again": {
        "postgresql": (6, 0, 14, 6),
    },
    "A counter that is made when it is missing": {
        "postgresql": (3, 7, 24, 8),
        "sqlite": (3, 7, 24, 8),
    },
    "A counter in one statement": {
        "postgresql": (4, 0, 4, 4),
        "sqlite": (4, 0, 4, 4),
    },
    "Write skew": {
        "postgresql": (3, 6, 20, 3),
        "sqlite": (3, 6, 14, 6),
    },
    "Write skew under REPEATABLE READ": {
        "postgresql": (3, 6, 20, 3),
    },
    "Write skew under SERIALIZABLE": {
        "postgresql": (3, 6, 20, 14),
    },
    "SERIALIZABLE with retry against write skew": {
        "postgresql": (14, 0, 20, 14),
    },
    "All rows locked against write skew": {
        "postgresql": (6, 0, 6, 6),
        "sqlite": (3, 6, 14, 6),
    },
    "A report while money moves": {
        "postgresql": (3, 7, 20, 3),
        "sqlite": (3, 7, 10, 3),
    },
    "A report from one snapshot": {
        "postgresql": (3, 0, 20, 3),
    },
    "The same question twice": {
        "postgresql": (3, 7, 20, 3),
        "sqlite": (3, 7, 10, 3),
    },
    "The same list twice": {
        "postgresql": (3, 6, 10, 3),
        "sqlite": (3, 6, 6, 3),
    },
    "What is not committed is not seen": {
        "postgresql": (3, 0, 20, 3),
        "sqlite": (3, 0, 10, 3),
    },
    "Two locks in two orders": {
        "postgresql": (3, 6, 12, 6),
        "sqlite": (6, 0, 6, 6),
    },
    "Two locks in two orders, and the transaction again": {
        "postgresql": (8, 0, 16, 8),
        "sqlite": (6, 0, 6, 6),
    },
    "Two locks in one order": {
        "postgresql": (4, 0, 6, 4),
        "sqlite": (6, 0, 6, 6),
    },
    "Restore against create": {
        "postgresql": (2, 5, 7, 5),
        "sqlite": (2, 5, 7, 5),
    },
    "Restore against create, the violation caught": {
        "postgresql": (5, 0, 7, 5),
        "sqlite": (5, 0, 7, 5),
    },
    "A child for a parent that goes": {
        "postgresql": (3, 6, 14, 6),
        "sqlite": (3, 6, 14, 6),
    },
    "The parent locked by both": {
        "postgresql": (6, 0, 7, 6),
        "sqlite": (3, 7, 25, 7),
    },
    "A job claimed by two": {
        "postgresql": (3, 8, 24, 6),
        "sqlite": (3, 8, 24, 8),
    },
    "A job claimed FOR UPDATE": {
        "postgresql": (6, 0, 8, 6),
        "sqlite": (3, 8, 24, 8),
    },
    "A job claimed with SKIP LOCKED": {
        "postgresql": (24, 0, 70, 24),
        "sqlite": (3, 8, 24, 8),
    },
    "A write on a stale read": {
        "postgresql": (3, 6, 14, 6),
        "sqlite": (3, 8, 70, 6),
    },
    "A write on a stale read, and the transaction again": {
        "postgresql": (6, 0, 14, 6),
        "sqlite": (10, 0, 150, 10),
    },
}
