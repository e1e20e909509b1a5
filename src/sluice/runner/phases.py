"""The phases that this agent runs: one supervisor each, and what the other loops ask of them."""

import asyncio

import structlog

from sluice.runner.backoff import Backoff
from sluice.runner.phase_dir import CancelRequest, PhaseDir
from sluice.runner.slots import Load, load_of
from sluice.runner.supervisor import Supervisor
from sluice.runner.takeup import Found
from sluice.runner.workplace import Workplace
from sluice.wire.agent import PhaseOrder

_log = structlog.get_logger(__name__)


class Phases:
    """All running phases of the agent.

    Args:
        place: what phases share.
        group: owns the supervisors; when it is cancelled, phase processes go on.
        changed: set whenever a phase begins or ends.
    """

    def __init__(
        self, place: Workplace, group: asyncio.TaskGroup, changed: asyncio.Event
    ) -> None:
        self._place = place
        self._group = group
        self._changed = changed
        self._running: dict[str, Supervisor] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def load(self) -> Load:
        """How many phases of each kind run."""
        return load_of([each.order.phase for each in self._running.values()])

    @property
    def task_ids(self) -> list[str]:
        """The tasks of all running phases."""
        return [each.order.task_id for each in self._running.values()]

    @property
    def lease_ids(self) -> list[str]:
        """The leases to renew: those of phases that the server still wants."""
        return [lease for lease, each in self._running.items() if not each.fenced]

    def begin(self, order: PhaseOrder) -> None:
        """Run a new phase."""
        if order.lease_id in self._running:
            _log.warning("order came twice", lease_id=order.lease_id)
            return
        phase = PhaseDir(self._place.folders.phases / order.lease_id)
        supervisor = Supervisor(self._place, phase, order)
        self._start(supervisor, new=True)

    def take_up(self, found: Found) -> None:
        """Go on with a phase of an earlier run."""
        supervisor = Supervisor(self._place, found.phase, found.order)
        self._start(supervisor, new=False)

    def abandon(self) -> None:
        """Supervise nothing any more; the phase processes go on by themselves."""
        for task in self._tasks:
            task.cancel()

    def cancel(self, task_id: str, request: CancelRequest) -> None:
        """Ask a task's phase to stop; a task that does not run here is not ours to stop."""
        for supervisor in self._running.values():
            if supervisor.order.task_id == task_id:
                supervisor.cancel(request)

    def _start(self, supervisor: Supervisor, *, new: bool) -> None:
        self._running[supervisor.order.lease_id] = supervisor
        task = self._group.create_task(self._supervise(supervisor, new=new))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._changed.set()

    async def _supervise(self, supervisor: Supervisor, *, new: bool) -> None:
        backoff = Backoff(1.0, 60.0)
        try:
            while not await self._supervised(supervisor, new=new):
                new = False
                await asyncio.sleep(backoff.delay())
                if supervisor.has_vanished():
                    break
        finally:
            del self._running[supervisor.order.lease_id]
            self._changed.set()

    async def _supervised(self, supervisor: Supervisor, *, new: bool) -> bool:
        """Supervise once; returns False where a fault of our own got in the way."""
        try:
            await (supervisor.run() if new else supervisor.take_up())
        except Exception:  # noqa: BLE001 - one phase's fault must not end the others; its files stay and it is taken up again
            _log.exception("supervising failed", task_id=supervisor.order.task_id)
            return False
        return True
