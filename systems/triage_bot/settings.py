"""What the environment says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from onerow import Retry
from systems.shared.errors import SystemFailure

T = TypeVar("T")

HERE = Path(__file__).parent
SLACK = "https://slack.com/api/"


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one deployment.

    Attributes:
        admins: who may answer requests and change the roster.
        group: id of the user group of those on call; none is updated where it is empty.
        suffix: at the end of every command's name.
    """

    spool: Path
    zone: ZoneInfo
    retry: Retry
    severities: Path = HERE / "severity.toml"
    admins: tuple[str, ...] = ()
    channel: str = ""
    admin_channel: str = ""
    group: str = ""
    suffix: str = ""

    @classmethod
    def from_environment(cls, given: Mapping[str, str] = os.environ) -> Settings:
        """TRIAGE_*; README.md tells each.

        Raises:
            SystemFailure: one of them cannot be read.
        """
        return cls(
            spool=Path(given.get("TRIAGE_SPOOL_DIR") or "triage-spool"),
            zone=_read(given, "TRIAGE_TIMEZONE", "America/Los_Angeles", "a zone's name", ZoneInfo),
            retry=Retry(
                attempts=_read(given, "TRIAGE_RETRY_ATTEMPTS", "3", "a whole number", _positive),
                base=_read(given, "TRIAGE_RETRY_BASE", "0.02", "seconds", _seconds),
            ),
            severities=Path(given.get("TRIAGE_SEVERITIES") or HERE / "severity.toml"),
            admins=tuple(a.strip() for a in given.get("TRIAGE_ADMINS", "").split(",") if a.strip()),
            channel=given.get("TRIAGE_CHANNEL", ""),
            admin_channel=given.get("TRIAGE_ADMIN_CHANNEL", ""),
            group=given.get("TRIAGE_GROUP", ""),
            suffix=_read(given, "TRIAGE_ENV", "production", "staging or production", _suffix),
        )


@dataclass(frozen=True, slots=True)
class Slack:
    """How Slack is reached."""

    signing_secret: str
    token: str
    api: str = SLACK

    @classmethod
    def from_environment(cls, given: Mapping[str, str] = os.environ) -> Slack:
        """SLACK_*.

        Raises:
            SystemFailure: a secret is missing.
        """
        for name in ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN"):
            if not given.get(name):
                raise SystemFailure(f"{name} is not set: README.md tells where Slack shows it.")
        api = given.get("SLACK_API_URL") or SLACK
        if not api.startswith(("https://", "http://")):
            raise SystemFailure("SLACK_API_URL is no http or https address.")
        return cls(given["SLACK_SIGNING_SECRET"], given["SLACK_BOT_TOKEN"], api.rstrip("/") + "/")


def _read(
    given: Mapping[str, str], name: str, usual: str, what: str, read: Callable[[str], T]
) -> T:
    text = given.get(name) or usual
    try:
        return read(text)
    except (ValueError, KeyError, OSError):
        raise SystemFailure(f"{name} is {text!r}, which is not {what}.") from None


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 60:
        raise ValueError
    return number


def _suffix(text: str) -> str:
    return {"staging": "-staging", "production": ""}[text]
