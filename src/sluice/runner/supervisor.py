"""Brings one phase from its order to its report: starts the process, uploads, finishes.

The phase process is not a part of the agent: when the agent ends or dies, the process goes
on, and a supervisor of the next run takes it up. So nothing here may be needed for
terraform to reach its end.
"""

import asyncio
import shutil
import subprocess
import threading

import structlog

from sluice.base.errors import (
    FencedError,
    SluiceError,
)
from sluice.runner import burial
from sluice.runner.backoff import Backoff
from sluice.runner.job_exit import job_exit
from sluice.runner.job_spec import JobResult
from sluice.runner.job_start import start_job
from sluice.runner.late_output import deliver_late
from sluice.runner.phase_dir import CancelKind, CancelRequest, PhaseDir
from sluice.runner.report import Reporter
from sluice.runner.takeup import put_away
from sluice.runner.uplink import Uplink
from sluice.runner.uplink_carriers import Carrier, Tokens
from sluice.runner.workplace import FoundEngine, Workplace
from sluice.wire.agent import (
    PING_COMMAND,
    LogEnd,
    PhaseName,
    PhaseOrder,
    PhaseOutcome,
)

WATCH_SECONDS = 1.0
REASON_SECONDS = 0.5
JOB_EXIT_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class Supervisor:
    """One phase of this agent.

    Attributes:
        order: the phase's order; without secrets where it was taken up.
        fenced: the server no longer wants this lease; it is not renewed any more.
    """

    def __init__(self, place: Workplace, phase: PhaseDir, order: PhaseOrder) -> None:
        self.order = order
        self.fenced = False
        self._place = place
        self._phase = phase
        self._process: subprocess.Popen[bytes] | None = None
        self._uplink: Uplink | None = None
        self._wanted: CancelRequest | None = None
        self._heard: set[CancelKind] = set()
        self._patience: asyncio.Timeout | None = None
        self._status = place.status.node(f"phases/{order.task_id}")
        self._reporter = Reporter(place, order, self._status)
        self._log = _log.bind(task_id=order.task_id, lease_id=order.lease_id)

    def cancel(self, request: CancelRequest) -> None:
        """Ask the phase to stop. A wish to stop at once is not taken back by a milder one."""
        known = self._wanted
        if known is not None and (
            known.kind is request.kind or known.kind is CancelKind.FORCE_CANCEL
        ):
            return
        self._wanted = request
        self._log.info("asked to stop", kind=request.kind.value, reason=request.reason)
        if self._phase.root.exists():
            self._phase.request_cancel(request)
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def has_vanished(self) -> bool:
        """Whether the phase's files are gone, so that there is nothing to go on with."""
        return self._phase.read_order() is None

    async def run(self) -> None:
        """Run a new phase to its report."""
        try:
            await asyncio.to_thread(self._phase.create, self.order)
        except OSError as error:
            await self._report_unstarted(error)
            return
        if self._wanted is not None:
            self._phase.request_cancel(self._wanted)
        engine = await self._engine()
        spec = self._place.spec(self.order, engine)
        try:
            self._process = await asyncio.to_thread(start_job, self._phase, spec)
            # Reaps the process when it ends; it outlives an agent that leaves.
            threading.Thread(target=self._process.wait, daemon=True).start()
        except OSError as error:
            why = f"The agent could not start the phase process ({error.strerror})."
            await asyncio.to_thread(self._bury, why, diverged=False)
        await self._to_end(report_start=True)

    async def take_up(self) -> None:
        """Go on with a phase that an earlier run of the agent began."""
        self._wanted = self._phase.read_cancel()
        self._log.info("took a phase up again", alive=self._phase.job_is_alive())
        await self._to_end(report_start=False)

    async def _engine(self) -> FoundEngine:
        """The engine, or why there is none; a wish to cancel ends the search."""
        if self.order.phase is PhaseName.SCRIPT:
            return FoundEngine()
        self._status.say("finding the engine")
        installer = self._place.installer(self._status)
        try:
            async with asyncio.timeout(None) as self._patience:
                found = await installer.resolve(
                    self.order.engine.value, self.order.terraform_version
                )
        except TimeoutError:
            return FoundEngine(
                problem="The task was canceled before its engine was there."
            )
        except SluiceError as error:
            return FoundEngine(problem=error.detail)
        except OSError as error:
            return FoundEngine(
                problem=f"The agent's engine cache cannot be used ({error})."
            )
        finally:
            self._patience = None
        return FoundEngine(binary=str(found.path), version=str(found.version))

    async def _to_end(self, *, report_start: bool) -> None:
        """Watch and upload side by side, then report or, if fenced, put away."""
        fenced: FencedError | None = None
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._watch())]
            if report_start:
                helpers.append(group.create_task(self._reporter.started()))
            try:
                await self._upload_and_finish()
            except FencedError as error:
                fenced = error
            for helper in helpers:
                helper.cancel()
        if fenced is not None:
            await self._stand_down(fenced)
        else:
            await self._clear_away()
        self._status.close()

    async def _watch(self) -> None:
        """Until the job has written its result: notice when it died without one."""
        with job_exit(self._job_pid()) as end:
            while not self._has_result():
                # Asked in this order: a job that ends writes its result first.
                if not self._phase.job_is_alive() and not self._has_result():
                    await self._job_died()
                    return
                await end.wait()

    def _job_pid(self) -> int | None:
        if self._process is not None:
            return self._process.pid
        job = self._phase.read_pid()
        return None if job is None else job.pid

    def _has_result(self) -> bool:
        return self._phase.result.exists()

    async def _job_died(self) -> None:
        code = None if self._process is None else self._process.poll()
        self._log.error(
            "the phase process is gone without a result",
            exit_code=code,
            said=burial.last_words(self._phase),
        )
        self._status.say("the phase process is gone; saving what it left")
        job = self._phase.read_pid()
        await asyncio.to_thread(burial.end_orphans, job)
        diverged = await burial.save_state(
            self._phase,
            self.order,
            self._place.api,
            token=self.order.task_token or self._place.session.token,
            kept=self._place.folders.state_kept,
        )
        error = burial.death_of(self.order.phase, code)
        await asyncio.to_thread(self._bury, error, diverged=diverged)
        if self._uplink is not None:
            self._uplink.stir()

    def _bury(self, error: str, *, diverged: bool) -> None:
        burial.bury(self._phase, error, diverged=diverged, clock=self._place.clock)

    async def _upload_and_finish(self) -> None:
        order, place = self.order, self._place
        tokens = Tokens(order.task_token, lambda: place.session.token)
        carrier = Carrier(
            api=place.api,
            task_id=order.task_id,
            lease_id=order.lease_id,
            tokens=tokens,
            clock=place.clock,
            status=self._status,
            mode=place.mode,
        )
        uplink = self._uplink = Uplink(
            self._phase,
            order.log,
            clock=place.clock,
            on_command=self._commanded,
            mode=place.mode,
        )
        backoff = Backoff(0.2, 5.0)
        try:
            while True:
                try:
                    await carrier.run(uplink)
                except FencedError:
                    if await self._reported_before(uplink):
                        return
                    raise
                if uplink.damaged:
                    await asyncio.to_thread(self._tell_damage, uplink.damaged)
                    continue
                log_end = await asyncio.to_thread(uplink.log_end)
                if await self._finish(log_end):
                    return
                await asyncio.sleep(backoff.delay())
        finally:
            self._uplink = None
            uplink.close()

    async def _reported_before(self, uplink: Uplink) -> bool:
        """Whether an earlier run of the agent had reported the end and died right then.

        The log is the server's from that moment; a report under the same lease is
        answered as before, under another it is refused.
        """
        if not self._has_result():
            return False
        try:
            return await self._finish(await asyncio.to_thread(uplink.log_end))
        except FencedError:
            return False

    def _commanded(self, command: str) -> None:
        """The server asks over the upload connection that the phase stop, or for a ping.

        Who asked, and why, comes with the next ping, so one is sent at once; the wish
        itself does not wait for it longer than a moment.
        """
        if command == PING_COMMAND:
            self._place.ping_now.set()
            return
        try:
            kind = CancelKind(command)
        except ValueError:
            self._log.warning("unknown command", command=command)
            return
        if kind in self._heard:
            return
        self._heard.add(kind)
        self._place.ping_now.set()
        loop = asyncio.get_running_loop()
        loop.call_later(REASON_SECONDS, self.cancel, CancelRequest(kind))

    def _tell_damage(self, damage: str) -> None:
        """Begin a new segment behind one that cannot be read: the reader tells of the gap."""
        text = f"The end of this log was damaged on the agent's disk ({damage})"
        burial.say(self._phase, text, clock=self._place.clock)

    async def _finish(self, log_end: LogEnd) -> bool:
        """Report the end; returns False when the server still misses a part of the log.

        Raises:
            FencedError: the server does not take this lease's report.
        """
        result = await asyncio.to_thread(self._phase.read_result)
        if result is None:
            raise FencedError("The phase's result has vanished from the agent's disk.")
        self._status.say(f"reporting: {result.outcome.value}")
        report = result.to_phase_result(lease_id=self.order.lease_id, log_end=log_end)
        taken = await self._reporter.ended(report)
        if taken:
            self._log.info(
                "phase finished", outcome=result.outcome.value, error=result.error
            )
        return taken

    async def _report_unstarted(self, error: OSError) -> None:
        """There is no disk for this phase: say so, with an empty log."""
        why = f"The agent cannot make the phase's folder ({error})."
        self._log.error("phase not started", why=why)
        result = JobResult(outcome=PhaseOutcome.FAILED, error=why)
        base = self.order.log
        log_end = LogEnd(offset=base.offset, next_line=base.next_line)
        report = result.to_phase_result(lease_id=self.order.lease_id, log_end=log_end)
        try:
            await self._reporter.ended(report)
        except FencedError as fenced:
            self._log.warning("end not taken", why=fenced.detail)
        self._status.close()

    async def _stand_down(self, error: FencedError) -> None:
        """The lease is over. A plan is stopped; an apply must reach its end by itself."""
        self.fenced = True
        self._log.warning("the server no longer wants this phase", why=error.detail)
        self._status.say(f"fenced, waiting for the process to end: {error.detail}")
        if self.order.phase is not PhaseName.APPLY:
            self.cancel(CancelRequest(CancelKind.CANCEL, "the lease is over"))
        await deliver_late(self._place, self._phase, self.order)
        while self._phase.job_is_alive():  # noqa: ASYNC110 - it may be nobody's child here
            await asyncio.sleep(WATCH_SECONDS)
        if await asyncio.to_thread(self._rescue_state):
            await asyncio.to_thread(
                put_away, self._phase, self._place.folders, why=error.detail
            )

    async def _clear_away(self) -> None:
        """Remove the phase's files once its process has left them."""
        waited = 0.0
        while self._phase.job_is_alive() and waited < JOB_EXIT_SECONDS:
            await asyncio.sleep(0.1)
            waited += 0.1
        if await asyncio.to_thread(self._rescue_state):
            await asyncio.to_thread(shutil.rmtree, self._phase.root, ignore_errors=True)

    def _rescue_state(self) -> bool:
        """A job removes its work folder unless it could not put the state elsewhere."""
        if not self._has_result():
            burial.end_orphans(self._phase.read_pid())
        kept = self._place.folders.state_kept
        return burial.rescue_state(self._phase, self.order, kept=kept)
