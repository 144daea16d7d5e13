"""The workflow service, over HTTP: with timeouts, and tried again when a failure may pass."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Protocol

import httpx
import stamina
from pydantic import ValidationError

from systems.report_weeks.ledger import Claim
from systems.report_weeks.models import Answer

log = logging.getLogger(__name__)

DONE = "SUCCEEDED"
KEY = "Idempotency-Key"
#: Of an answer that another try may not get; any other error is final.
PASSING = (408, 425, 429, 500, 502, 503, 504)
MOST_SAID = 300  #: characters of what the service says of a failure


class ServiceFailure(Exception):
    """The service did not do the week.

    Attributes:
        service_id: of its execution, if it told one.
    """

    def __init__(self, reason: str, service_id: str | None = None) -> None:
        super().__init__(reason)
        self.service_id = service_id


class Service(Protocol):
    """Whoever executes workflows."""

    async def execute(self, claim: Claim) -> Answer: ...


class WorkflowService:
    """The client of a service; an asynchronous context.

    Args:
        address: its root.
        attempts: how often a call is made at most.
        timeout: seconds that the service may take for an answer.
    """

    def __init__(self, address: str, *, attempts: int = 3, timeout: float = 300.0) -> None:
        limits = httpx.Timeout(timeout, connect=10.0)
        self._http = httpx.AsyncClient(base_url=address, timeout=limits)
        self._attempts = attempts

    async def __aenter__(self) -> WorkflowService:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def execute(self, claim: Claim) -> Answer:
        """Have a week done; the key makes sure that the service does it once.

        Raises:
            ServiceFailure: it does not answer, or answers that it could not.
        """
        try:
            answer = await self._answered(claim)
        except httpx.HTTPStatusError as error:
            raise ServiceFailure(f"the service answered {error.response.status_code}") from None
        except httpx.TimeoutException:
            raise ServiceFailure("the service did not answer in time") from None
        except httpx.HTTPError as error:
            raise ServiceFailure(f"the service cannot be reached: {error}"[:MOST_SAID]) from None
        if answer.status != DONE:
            said = f"the service says {answer.status}: {answer.error or 'no reason given'}"
            raise ServiceFailure(said[:MOST_SAID].replace("\0", ""), answer.execution_id)
        return answer

    async def _answered(self, claim: Claim) -> Answer:
        tries = stamina.retry_context(
            on=_may_pass,
            attempts=self._attempts,
            timeout=None,
            wait_initial=0.1,
            wait_max=5.0,
            wait_jitter=0.3,
        )
        async for attempt in tries:
            with attempt:
                response = await self._http.post(
                    f"/workflows/{claim.workflow}/executions",
                    json=_body(claim),
                    headers={KEY: claim.key},
                )
                response.raise_for_status()
        return _read(response)


def _body(claim: Claim) -> dict[str, object]:
    days = {"start_date": str(claim.start), "end_date": str(claim.end)}
    return {"instanceId": claim.instance, "parameters": days}


def _read(response: httpx.Response) -> Answer:
    # PostgreSQL's jsonb takes no NUL (datatype-json.html).
    if "\\u0000" in response.text:
        raise ServiceFailure("the service's answer holds the character NUL")
    try:
        return Answer.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise ServiceFailure(
            f"the service's answer cannot be read: {place}: {first['msg']}"[:MOST_SAID]
        ) from None


def _may_pass(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in PASSING
    return isinstance(error, httpx.TransportError)
