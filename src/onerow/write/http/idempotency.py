"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), without a framework. Pure.

A request is done once: its operation row, with the answer, is committed with the effect. So the
handler must use the session that the middleware opened. Answers below 400 are kept; for others
nothing was done, and the same key may be used again.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onerow.write.http.problem import Problem
from onerow.write.retry import Retry

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Request:
    """What tells two requests apart."""

    method: str
    path: str
    query: str
    body: bytes
    caller: str

    def op_id(self, key: str) -> str:
        """One key is one request of one caller to one path."""
        return "http:" + _digest(self.caller, self.method, self.path, key)

    @property
    def fingerprint(self) -> str:
        return _digest(self.query, self.body)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that can be given again."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def keep(self) -> bool:
        return self.status < 400

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "headers": [list(h) for h in self.headers],
            "body": base64.b64encode(self.body).decode(),
        }

    @classmethod
    def from_json(cls, data: Any) -> Kept | None:
        """None when the handler committed by itself, so that the answer was not kept."""
        if not isinstance(data, Mapping):
            return None
        headers = tuple((str(n), str(v)) for n, v in data["headers"])
        return cls(data["status"], headers, base64.b64decode(data["body"]))

    def replayed(self) -> Kept:
        return Kept(self.status, (*self.headers, (REPLAYED, "true")), self.body)


@dataclass(frozen=True)
class Rules:
    """Which requests are guarded.

    Attributes:
        methods: those that are looked at.
        required: answer 400 without the header; a bool, or a function of method and path.
        retry: of the whole request when its transaction fails for something that passes.
        max_body: requests with a larger body are refused with 413.
    """

    methods: frozenset[str] = frozenset({"POST", "PATCH"})
    required: bool | Callable[[str, str], bool] = False
    retry: Retry = field(default_factory=Retry)
    max_body: int = 10 * 1024 * 1024
    running: Running = field(default_factory=lambda: Running())

    def needs(self, method: str, path: str) -> bool:
        return self.required(method, path) if callable(self.required) else self.required

    def refuse(self, method: str, path: str, key: str | None) -> Problem | None:
        """400 for a missing or a bad key; None to go on."""
        if key is None:
            if not self.needs(method, path):
                return None
            return Problem(400, f"{HEADER} is required", "idempotency_key_missing")
        if not key or len(key) > MAX_KEY or not key.isprintable():
            return Problem(400, f"{HEADER} is not usable", "idempotency_key_bad")
        return None


class Running:
    """The operations that this process is at; over processes only PostgreSQL can tell."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    def enter(self, op_id: str) -> bool:
        with self._lock:
            if op_id in self._ids:
                return False
            self._ids.add(op_id)
            return True

    def leave(self, op_id: str) -> None:
        with self._lock:
            self._ids.discard(op_id)


LOST = Problem(409, "Done before; its answer was not kept", "operation_done")
TOO_LARGE = Problem(413, "Request too large", "too_large")


def _digest(*parts: str | bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found.update(len(raw).to_bytes(8, "big") + raw)
    return found.hexdigest()


def header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """A header's value by its name in any case."""
    return next((v for n, v in headers if n.lower() == name.lower()), None)
