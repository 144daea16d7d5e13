"""Listeners for `observe`: Prometheus and OpenTelemetry. Each is imported when it is made.

from onerow.write import observe
from onerow.write.metrics import Prometheus

observe(Prometheus())
"""

from __future__ import annotations

from typing import Any

LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ATTEMPTS = (1, 2, 3, 4, 5, 8, 13)


class Prometheus:
    """Counters, histograms and gauges in a Prometheus registry (extra `metrics`).

    Args:
        registry: prometheus_client's default registry if absent.
        prefix: of the names.
    """

    def __init__(self, registry: Any = None, prefix: str = "onerow") -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        r = registry if registry is not None else REGISTRY

        def name(tail: str) -> str:
            return f"{prefix}_{tail}"

        labels = ["verb", "table", "outcome"]
        self.writes = Counter(name("writes_total"), "Writes by outcome", labels, registry=r)
        self.seconds = Histogram(
            name("write_seconds"), "Time of a verb", ["verb"], buckets=LATENCY, registry=r
        )
        labels = ["verb", "table"]
        self.races = Counter(name("races_total"), "Writes that came second", labels, registry=r)
        labels = ["kind", "constraint"]
        self.conflicts = Counter(
            name("conflicts_total"), "Constraint violations", labels, registry=r
        )
        labels = ["function", "kind"]
        self.retries = Counter(name("retries_total"), "Retries by cause", labels, registry=r)
        labels = ["function", "result"]
        self.transactions = Counter(
            name("transactions_total"), "Transactional calls by result", labels, registry=r
        )
        self.attempts = Histogram(
            name("attempts"), "Attempts of a call", ["function"], buckets=ATTEMPTS, registry=r
        )
        self.transaction_seconds = Histogram(
            name("transaction_seconds"), "Time of a call", ["function"], buckets=LATENCY, registry=r
        )
        self.spool_events = Counter(
            name("spool_events_total"), "What happened to the spool", ["event"], registry=r
        )
        self.depth = Gauge(name("spool_depth"), "Writes that wait", registry=r)
        self.age = Gauge(name("spool_age_seconds"), "Age of the oldest that waits", registry=r)

    def wrote(self, verb: str, table: str, outcome: str, seconds: float) -> None:
        self.writes.labels(verb, table, outcome).inc()
        self.seconds.labels(verb).observe(seconds)

    def raced(self, verb: str, table: str) -> None:
        self.races.labels(verb, table).inc()

    def conflicted(self, kind: str, constraint: str, table: str) -> None:
        self.conflicts.labels(kind, constraint).inc()

    def retried(self, function: str, kind: str, attempt: int, delay: float) -> None:
        self.retries.labels(function, kind).inc()

    def finished(self, function: str, result: str, attempts: int, seconds: float) -> None:
        self.transactions.labels(function, result).inc()
        self.attempts.labels(function).observe(attempts)
        self.transaction_seconds.labels(function).observe(seconds)

    def spooled(self, event: str, depth: int, age: float) -> None:
        self.spool_events.labels(event).inc()
        self.depth.set(depth)
        self.age.set(age)


class OpenTelemetry:
    """Instruments of an OpenTelemetry meter, and events on the current span (extra `metrics`).

    Args:
        meter: a Meter; the global provider's if absent.
    """

    def __init__(self, meter: Any = None) -> None:
        from opentelemetry import metrics, trace

        m = meter if meter is not None else metrics.get_meter("onerow.write")
        self._span = trace.get_current_span
        self.writes = m.create_counter("onerow.writes", description="Writes by outcome")
        self.seconds = m.create_histogram("onerow.write.duration", unit="s")
        self.races = m.create_counter("onerow.races", description="Writes that came second")
        self.conflicts = m.create_counter("onerow.conflicts")
        self.retries = m.create_counter("onerow.retries")
        self.attempts = m.create_histogram("onerow.attempts")
        self.spool = m.create_counter("onerow.spool.events")
        self.depth = m.create_histogram("onerow.spool.depth")

    def wrote(self, verb: str, table: str, outcome: str, seconds: float) -> None:
        facts = {"verb": verb, "table": table, "outcome": outcome}
        self.writes.add(1, facts)
        self.seconds.record(seconds, {"verb": verb})
        self._span().add_event("onerow.wrote", facts)

    def raced(self, verb: str, table: str) -> None:
        facts = {"verb": verb, "table": table}
        self.races.add(1, facts)
        self._span().add_event("onerow.raced", facts)

    def conflicted(self, kind: str, constraint: str, table: str) -> None:
        facts = {"kind": kind, "constraint": constraint, "table": table}
        self.conflicts.add(1, facts)
        self._span().add_event("onerow.conflict", facts)

    def retried(self, function: str, kind: str, attempt: int, delay: float) -> None:
        self.retries.add(1, {"function": function, "kind": kind})
        self._span().add_event(
            "onerow.retry", {"function": function, "kind": kind, "attempt": attempt, "delay": delay}
        )

    def finished(self, function: str, result: str, attempts: int, seconds: float) -> None:
        self.attempts.record(attempts, {"function": function, "result": result})

    def spooled(self, event: str, depth: int, age: float) -> None:
        self.spool.add(1, {"event": event})
        self.depth.record(depth)
