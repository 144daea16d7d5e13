"""Telling people that the fallback started or ended."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

log = logging.getLogger("onerow.write")


@dataclass(frozen=True, slots=True)
class SpoolEvent:
    """What happened to a spool.

    Attributes:
        kind: ``started`` (the first write waits), ``ended`` (none waits any more), ``failed`` (a
            write was put aside).
        depth: how many wait.
        reason: the error that began the fallback, or why a write was put aside.
    """

    kind: Literal["started", "ended", "failed"]
    depth: int
    reason: str = ""


class Webhook:
    """A hook that posts the event as JSON, in a thread of its own, and tries again.

    Args:
        url: where to.
        attempts: how many times.
        pause: seconds before the second attempt, doubled before each further one.
        timeout: seconds for each.
        headers: sent with it.
    """

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 4,
        pause: float = 0.5,
        timeout: float = 5.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("a webhook needs an http or https address")
        self.url = url
        self.attempts = attempts
        self.pause = pause
        self.timeout = timeout
        self.headers = {"Content-Type": "application/json", **(headers or {})}

    def __call__(self, event: SpoolEvent) -> None:
        threading.Thread(target=self.send, args=(event,), daemon=True).start()

    def send(self, event: SpoolEvent) -> bool:
        """Post now; whether it arrived."""
        body = json.dumps(asdict(event)).encode()
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            request = urllib.request.Request(self.url, body, self.headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=self.timeout):
                    return True
            except (urllib.error.URLError, OSError) as exc:
                log.warning("webhook failed: %s", exc)
        return False


def tell(hooks: tuple[Callable[[SpoolEvent], None], ...], event: SpoolEvent) -> None:
    """Call the hooks; what they raise is logged, because the write itself is safe."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:
            log.exception("notification hook failed")
