"""Tells the server that a phase has begun and how it ended, for as long as it takes."""

import asyncio
from dataclasses import dataclass

import structlog

from sluice.base.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    GoneError,
    InvalidInputError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
)
from sluice.runner.backoff import Backoff
from sluice.runner.status import StatusNode
from sluice.runner.workplace import Workplace
from sluice.wire.agent import PhaseOrder, PhaseResult, StartedReport

MAX_REFUSALS = 5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reporter:
    """The reports of one phase."""

    place: Workplace
    order: PhaseOrder
    status: StatusNode

    async def started(self) -> None:
        """The process runs; uploads will say it anyway, so failing is no matter."""
        backoff = Backoff(0.5, 15.0)
        report = StartedReport(lease_id=self.order.lease_id)
        while True:
            session = self.place.session
            try:
                await self.place.api.started(
                    session.token, session.agent_id, self.order.task_id, report
                )
            except (FencedError, ConflictError, NotFoundError, GoneError) as error:
                _log.warning(
                    "start not taken", task_id=self.order.task_id, why=error.detail
                )
                return
            except SluiceError:
                await asyncio.sleep(backoff.delay())
            else:
                return

    async def ended(self, report: PhaseResult) -> bool:
        """The phase has ended; returns False when the server still misses log.

        Raises:
            FencedError: the server does not take this lease's report.
        """
        backoff = Backoff(0.5, 15.0)
        refusals = 0
        while True:
            token = self.place.session.token
            try:
                return await self._ended_once(token, report)
            except FencedError:
                raise
            except UnauthorizedError:
                await self._renew(token)
            except ForbiddenError as error:
                # It may be a proxy's, for a while.
                refusals += 1
                if refusals >= MAX_REFUSALS:
                    raise FencedError(error.detail) from None
            except SluiceError as error:
                self.status.say(f"cannot report the end: {error.detail}")
            await asyncio.sleep(backoff.delay())

    async def _ended_once(self, token: str, report: PhaseResult) -> bool:
        agent_id, task_id = self.place.session.agent_id, self.order.task_id
        try:
            await self.place.api.finish(token, agent_id, task_id, report)
        except (ConflictError, FencedError) as error:
            if "committed" in error.extra:
                return False
            raise FencedError(error.detail) from None
        except (NotFoundError, GoneError, InvalidInputError) as error:
            raise FencedError(error.detail) from None
        return True

    async def _renew(self, token: str) -> None:
        try:
            await self.place.session.renew(token)
        except SluiceError as error:
            self.status.say(f"cannot report the end: {error.detail}")
