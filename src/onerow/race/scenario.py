"""The scenario of a load: a small TOML file, read and checked.

    url = "http://127.0.0.1:8000"
    clients = 8
    rounds = 20
    stagger_ms = [0, 1, 2, 5]
    keys = 1                        # how many different keys the clients of a round use

    [[request]]
    method = "POST"
    path = "/members"
    json = { email = "{key}@example.org" }

    [expect]
    status = [201, 409]

    [check]
    database = "${DATABASE_URL}"
    rules = "onerow.toml"           # or: no_rows = "SELECT …"

``{key}``, ``{round}`` and ``{client}`` are filled in; ``${NAME}`` comes from the environment.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onerow.errors import InputError, nearest

MOST_CLIENTS = 64
MOST_REQUESTS = 20_000
_ENVIRONMENT = re.compile(r"\$\{(\w+)\}")
_NAME = re.compile(r"\{(key|round|client)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RequestModel(_Strict):
    method: str = "POST"
    path: str
    json_: Any = Field(None, alias="json")
    form: dict[str, str] | None = None
    headers: dict[str, str] = {}


class ExpectModel(_Strict):
    status: list[int] = [200, 201, 204, 409]


class CheckModel(_Strict):
    database: str
    rules: str | None = None
    no_rows: str | None = None


class ScenarioModel(_Strict):
    url: str
    clients: int = Field(8, ge=2, le=MOST_CLIENTS)
    rounds: int = Field(20, ge=1)
    stagger_ms: list[float] = Field([0, 1, 2, 5], min_length=1)
    keys: int = Field(1, ge=1)
    timeout: float = Field(10, gt=0)
    headers: dict[str, str] = {}
    request: list[RequestModel] = Field(min_length=1)
    expect: ExpectModel = ExpectModel()
    check: CheckModel | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of request; texts in it may have names to fill in."""

    method: str
    path: str
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def path_for(self, names: Mapping[str, str]) -> str:
        return str(filled(self.path, names))

    def body(self, names: Mapping[str, str]) -> str | None:
        if self.json is not None:
            return json.dumps(filled(self.json, names))
        if self.form is not None:
            from urllib.parse import urlencode

            return urlencode(filled(self.form, names))
        return None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load: how many, how often, what, and what must be true afterwards."""

    url: str
    requests: tuple[Request, ...]
    clients: int = 8
    rounds: int = 20
    stagger_ms: tuple[float, ...] = (0, 1, 2, 5)
    keys: int = 1
    timeout: float = 10
    headers: Mapping[str, str] = field(default_factory=dict)
    status: tuple[int, ...] = (200, 201, 204, 409)
    database: str | None = None
    rules: str | None = None
    no_rows: str | None = None

    def invariants(self) -> list[Callable[[Any], object]]:
        from onerow.race.invariants import no_duplicates, no_rows

        found: list[Callable[[Any], object]] = []
        if self.rules is not None:
            found.append(no_duplicates(self.rules))
        if self.no_rows is not None:
            found.append(no_rows(self.no_rows))
        return found


def read_scenario(source: Mapping[str, Any] | str | Path) -> Scenario:
    """A scenario from a file or from what such a file holds.

    Raises:
        InputError: it is not there, is not TOML, has unknown or missing fields, or wants more
            requests than a load may make.
    """
    data, name = (source, "scenario") if isinstance(source, Mapping) else _parsed(Path(source))
    try:
        model = ScenarioModel.model_validate(_from_environment(data, name))
    except ValidationError as error:
        raise InputError("\n".join(f"{name}: {_told(e)}" for e in error.errors())) from error
    scenario = _scenario(model)
    total = scenario.clients * scenario.rounds * len(scenario.stagger_ms)
    if total > MOST_REQUESTS:
        raise InputError(
            f"{name}: {total} requests are more than a load may make ({MOST_REQUESTS})."
        )
    if urlsplit(scenario.url).scheme not in ("http", "https"):
        raise InputError(f"{name}: {scenario.url!r} is no http:// or https:// address.")
    return scenario


def _scenario(model: ScenarioModel) -> Scenario:
    check = model.check
    return Scenario(
        url=model.url,
        requests=tuple(
            Request(r.method.upper(), r.path, r.json_, r.form, r.headers) for r in model.request
        ),
        clients=model.clients,
        rounds=model.rounds,
        stagger_ms=tuple(model.stagger_ms),
        keys=model.keys,
        timeout=model.timeout,
        headers=model.headers,
        status=tuple(model.expect.status),
        database=check.database if check else None,
        rules=check.rules if check else None,
        no_rows=check.no_rows if check else None,
    )


def _parsed(path: Path) -> tuple[Mapping[str, Any], str]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), str(path)
    except OSError as error:
        raise InputError(f"The scenario {str(path)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: it is not TOML: {error}.") from error


def _from_environment(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return _ENVIRONMENT.sub(lambda m: _variable(m[1], name), value)
    if isinstance(value, Mapping):
        return {k: _from_environment(v, name) for k, v in value.items()}
    if isinstance(value, list):
        return [_from_environment(v, name) for v in value]
    return value


def _variable(variable: str, name: str) -> str:
    if variable not in os.environ:
        raise InputError(f"{name}: the environment has no {variable}.")
    return os.environ[variable]


def _told(detail: Any) -> str:
    path = [str(p) for p in detail["loc"]]
    where = ".".join(path)
    if detail["type"] == "extra_forbidden":
        models: dict[str, type[_Strict]] = {
            "request": RequestModel,
            "expect": ExpectModel,
            "check": CheckModel,
        }
        known = models.get(path[0] if len(path) > 1 else "", ScenarioModel)
        names = [f.alias or n for n, f in known.model_fields.items()]
        return f"unknown field {where!r}. {nearest(path[-1], names)}".strip()
    return f"{where}: {detail['msg'].lower()}."


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """Texts with ``{key}``, ``{round}`` and ``{client}`` replaced, wherever they are."""
    if isinstance(value, str):
        return _NAME.sub(lambda m: names[m[1]], value)
    if isinstance(value, Mapping):
        return {k: filled(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, names) for v in value]
    return value


def is_loopback(host: str) -> bool:
    """It is this machine: an address of 127.0.0.0/8 or ::1, or the name localhost."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
