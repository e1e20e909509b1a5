"""Talks to the platform that called: fetches its plan, and calls back until it has heard."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2
import stamina
import structlog

from sluice.receiver.callback_body import progress_body, review_body
from sluice.receiver.calls import Call
from sluice.receiver.model import Review
from sluice.receiver.ports import ReviewError

_log = structlog.get_logger(__name__)
_JSON_API = "application/vnd.api+json"
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNFINISHED = 204
_OVER = frozenset({401, 404, 409, 410})
_REDIRECTS = 3


class OverError(Exception):
    """The platform waits for this result no more."""


class _AgainError(Exception):
    """It may work the next time."""


_FAULTS = (_AgainError, httpx2.HTTPError, httpx2.InvalidURL)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try again what did not work.

    Attributes:
        seconds: in all.
        first: about the first pause.
        longest: about the longest.
    """

    seconds: float = 900.0
    first: float = 0.5
    longest: float = 30.0


def open_client() -> httpx2.AsyncClient:
    """A client for the platform; to be closed."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(30.0, connect=10.0),
        headers={"user-agent": "sluice-run-task"},
        max_redirects=_REDIRECTS,
    )


class PlatformClient:
    """The platform's side of the calls that are worked on.

    Args:
        client: for HTTP.
        patience: with callbacks that do not get through, and with the plan.
        max_plan_bytes: no larger plan is taken.
    """

    def __init__(
        self, client: httpx2.AsyncClient, *, patience: Patience, max_plan_bytes: int
    ) -> None:
        self._client = client
        self._patience = patience
        self._max_plan_bytes = max_plan_bytes

    async def tell(self, call: Call, message: str) -> None:
        """Say how far the work is; whether that arrives matters little.

        Raises:
            OverError: nobody waits for the result.
        """
        try:
            await self._patch(call, progress_body(message))
        except (ReviewError, *_FAULTS) as error:
            _log.info("progress was not told", error=str(error) or repr(error))

    async def finish(self, call: Call, review: Review) -> None:
        """Hand over the review, as often as it takes.

        Raises:
            OverError: nobody waits for it.
            ReviewError: it did not get through, or is refused.
        """
        body = review_body(review)
        try:
            async for attempt in self._attempts():
                with attempt:
                    await self._patch(call, body)
        except _FAULTS as error:
            raise ReviewError(f"The callback did not get through ({error}).") from error

    async def finish_once(self, call: Call, review: Review) -> None:
        """Hand over the review with one attempt.

        Raises:
            OverError: nobody waits for it.
            ReviewError: it did not get through, or is refused.
        """
        try:
            await self._patch(call, review_body(review))
        except _FAULTS as error:
            raise ReviewError(f"The callback did not get through ({error}).") from error

    async def fetch_plan(self, call: Call, target: Path) -> None:
        """Write the plan JSON to a file, piece by piece.

        Raises:
            ReviewError: it is too large, or cannot be had; the text says which.
        """
        try:
            async for attempt in self._attempts():
                with attempt, _written(target) as file:
                    await self._download(call, file)
        except _FAULTS as error:
            raise ReviewError(f"The plan could not be fetched ({error}).") from error

    def _attempts(self) -> AsyncIterator[stamina.Attempt]:
        patience = self._patience
        return stamina.retry_context(
            on=(_AgainError, httpx2.TransportError),
            attempts=None,
            timeout=patience.seconds,
            wait_initial=patience.first,
            wait_max=patience.longest,
            wait_jitter=patience.first,
        )

    async def _patch(self, call: Call, body: bytes) -> None:
        answer = await self._client.patch(
            call.task_result_callback_url,
            content=body,
            headers={**_authorization(call), "content-type": _JSON_API},
        )
        if answer.is_success:
            return
        if answer.status_code in _OVER:
            raise OverError(f"HTTP {answer.status_code}")
        if answer.status_code in _AGAIN:
            raise _AgainError(f"HTTP {answer.status_code}")
        raise ReviewError(f"The callback was refused (HTTP {answer.status_code}).")

    async def _download(self, call: Call, file: BinaryIO) -> None:
        # a redirect to another origin loses the token: httpx2 takes it off
        async with self._client.stream(
            "GET",
            call.plan_json_api_url or "",
            headers=_authorization(call),
            follow_redirects=True,
        ) as answer:
            if answer.status_code in _AGAIN or answer.status_code == _UNFINISHED:
                raise _AgainError(f"HTTP {answer.status_code}")
            if answer.status_code != httpx2.codes.OK:
                raise ReviewError(
                    f"The plan could not be fetched (HTTP {answer.status_code})."
                )
            written = 0
            async for piece in answer.aiter_bytes():
                written += len(piece)
                if written > self._max_plan_bytes:
                    raise ReviewError(
                        "The plan is larger than this service takes"
                        f" ({self._max_plan_bytes // 1024**2} MiB); start it with a larger"
                        " --max-plan-mib."
                    )
                file.write(piece)


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """The file, anew for each attempt."""
    with target.open("wb") as file:
        yield file


def _authorization(call: Call) -> dict[str, str]:
    return {"authorization": f"Bearer {call.access_token}"}
