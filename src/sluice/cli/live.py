"""Watches a task from the terminal: its lines, how far it is, and what it asks for."""

import threading
from dataclasses import dataclass
from enum import Enum, auto

from sluice.base.clock import Clock
from sluice.base.errors import ConflictError
from sluice.cli import ansi, words
from sluice.cli.approval import Answer, Approval
from sluice.cli.console import Console
from sluice.cli.keyboard import Interrupts, ask
from sluice.cli.outcome import after_gate
from sluice.cli.printer import Printer
from sluice.cli.progress import GATES, Progress, describe
from sluice.cli.pump import FramePump, TaskPoll
from sluice.client.api import Api
from sluice.client.stream import Link, LinkEvent
from sluice.wire.shapes.tasks import (
    TERMINAL,
    PlanSummary,
    Task,
    TaskStatus,
    TaskType,
)
from sluice.wire.stream import Batch, Completed, Frame, StageMarker

_TICK = 0.1
_QUIET_SECONDS = 0.4
_ENDLESS_SECONDS = 15.0


class WhenPlanWaits(Enum):
    """What to do once the plan waits for confirmation."""

    ASK = auto()
    LEAVE = auto()
    WATCH = auto()


class Ending(Enum):
    """Why watching ended."""

    COMPLETED = auto()
    DETACHED = auto()
    LEFT_WAITING = auto()


@dataclass(frozen=True, slots=True)
class Watched:
    """How a watch ended, and the task as it was seen last."""

    ending: Ending
    task: Task


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a watch does besides showing output.

    ``after``: the last line that needs no showing. ``stop``: ends the watch from another thread.
    """

    json: bool = False
    stage: str | None = None
    after: int = 0
    when_plan_waits: WhenPlanWaits = WhenPlanWaits.WATCH
    stop: threading.Event | None = None


class Watch:
    """One task on one terminal."""

    def __init__(
        self,
        api: Api,
        console: Console,
        task: Task,
        *,
        clock: Clock,
        options: WatchOptions,
    ) -> None:
        self._api = api
        self._console = console
        self._clock = clock
        self._options = options
        self._printer = Printer(console, json=options.json, stage=options.stage)
        self._interrupts = Interrupts()
        self._poll = TaskPoll(api, task)
        self._pump = FramePump(api, task.id, options.after)
        self._progress = Progress(
            total=_operations(task.summary), applying=task.task_type is TaskType.APPLY
        )
        self._stage_since = self._heard_at = clock.monotonic()
        self._handled = 0
        self._said = ""
        self._link = ""
        self._asked = False
        self._ended_at: float | None = None

    def run(self) -> Watched:
        """Watch until the output's end, or until the person leaves.

        Raises:
            SluiceError: the server refuses, or stays away too long.
        """
        try:
            with self._interrupts, self._poll, self._pump:
                return self._loop()
        finally:
            self._console.status("")

    def _loop(self) -> Watched:
        while True:
            item = self._pump.take(_TICK)
            if isinstance(item, Link):
                self._on_link(item)
            elif item is not None:
                self._on_frame(item)
                if isinstance(item, Completed):
                    return self._final()
            ending = self._attend(quiet=item is None)
            if ending is not None:
                return Watched(ending, self._poll.latest)

    def _attend(self, *, quiet: bool) -> Ending | None:
        """What is to do besides showing frames; an ending where the watch is over."""
        if self._stopped():
            return Ending.DETACHED
        if self._interrupts.count > self._handled and self._leaves():
            return Ending.DETACHED
        task = self._poll.latest
        works = self._progress.stage and self._progress.stage not in GATES
        self._poll.seconds = 5.0 if works else 1.0
        if quiet and self._plan_waits(task):
            return self._decide(task)
        if quiet and self._leaves_blocked(task):
            return Ending.LEFT_WAITING
        if self._endless(task):
            self._console.warn(
                f"the task has ended ({task.status}), but the end of its output did not arrive."
            )
            return Ending.COMPLETED
        self._tell(task)
        return None

    def _on_frame(self, frame: Frame) -> None:
        self._heard_at = self._clock.monotonic()
        self._printer.show(frame)
        if isinstance(frame, StageMarker):
            begins = frame.status == "begin"
            step = self._progress.began if begins else self._progress.over
            self._progress = step(frame.stage)
            self._stage_since = self._heard_at
            self._poll.soon()
        elif isinstance(frame, Batch) and self._console.err_is_terminal:
            for _, _, _, text in frame.lines:
                self._progress = self._progress.line(ansi.plain(text))

    def _on_link(self, link: Link) -> None:
        match link.event:
            case LinkEvent.CONNECTED:
                if self._link:
                    line = self._pump.last_line + 1
                    self._console.hint(f"Connected again; going on at line {line}.")
                self._link = ""
            case LinkEvent.WAITING:
                if not self._link:
                    self._console.hint(
                        f"The connection is lost ({link.why}); the task goes on, reconnecting."
                    )
                self._link = f"reconnecting · {words.duration(link.seconds)}"
            case LinkEvent.SWITCHED:
                self._console.hint(
                    f"The live connection does not get through ({link.why}); "
                    f"trying {link.carrier}."
                )

    def _tell(self, task: Task) -> None:
        """Say why the task waits, and keep the status line true."""
        waits = task.status is TaskStatus.PENDING and not self._progress.stage
        at_gate = self._progress.stage in GATES and task.stage == self._progress.stage
        if task.blocked and self._options.when_plan_waits is WhenPlanWaits.LEAVE:
            self._said = task.reason  # whoever leaves says it
        if (waits or at_gate) and task.reason and task.reason != self._said:
            self._said = task.reason
            self._console.hint(_waiting(task))
        seconds = self._clock.monotonic() - self._stage_since
        elapsed = words.elapsed(seconds)
        if self._link:
            self._console.status(self._link)
        elif waits:
            self._console.status(f"waiting · {elapsed}")
        else:
            now = describe(self._progress, elapsed=elapsed)
            said = now.replace("waiting", "blocked", 1) if task.blocked else now
            self._console.status(said)

    def _plan_waits(self, task: Task) -> bool:
        """Whether the plan waits for confirmation and all of its output is shown."""
        if self._asked or task.status is not TaskStatus.APPLY_PENDING:
            return False
        if self._options.when_plan_waits is WhenPlanWaits.WATCH or not task.can_confirm:
            return False
        silence = self._clock.monotonic() - self._heard_at
        return silence > _QUIET_SECONDS and not self._progress.stage

    def _leaves_blocked(self, task: Task) -> bool:
        """Whether nobody is here who could wait for somebody to let the task pass."""
        waits = self._options.when_plan_waits
        silence = self._clock.monotonic() - self._heard_at
        return (
            task.blocked and waits is WhenPlanWaits.LEAVE and silence > _QUIET_SECONDS
        )

    def _decide(self, task: Task) -> Ending | None:
        if self._options.when_plan_waits is WhenPlanWaits.LEAVE:
            return Ending.LEFT_WAITING
        self._asked = True
        self._console.status("")
        approval = Approval(self._api, self._console, self._interrupts)
        try:
            answer = approval.decide(task, waits=self._still_waits)
        except ConflictError as error:
            # somebody else decided a moment ago
            self._console.hint(error.detail)
            return None
        self._poll.soon()
        if answer is Answer.DECIDED and not self._stopped():
            self._console.hint("Somebody else has decided.")
        if answer is Answer.LATER:
            return Ending.LEFT_WAITING
        if answer is Answer.INTERRUPTED:
            self._goes_on(task)
            return Ending.DETACHED
        self._heard_at = self._clock.monotonic()
        return None

    def _still_waits(self) -> bool:
        waits = self._poll.latest.status is TaskStatus.APPLY_PENDING
        return waits and not self._stopped()

    def _stopped(self) -> bool:
        stop = self._options.stop
        return stop is not None and stop.is_set()

    def _leaves(self) -> bool:
        """Ctrl-C: whether the person leaves the task to itself."""
        self._handled = self._interrupts.count
        self._console.status("")
        if not self._console.interactive:
            self._goes_on(self._poll.latest)
            return True
        task = self._poll.look()
        force = not task.can_cancel and task.can_force_cancel
        verb = "f kill it (state may be lost)" if force else "c cancel it"
        self._console.say(f"\nThe task goes on on the server; {_where(task)}.")
        question = f"{verb}, d leave it and end here (default), w keep watching: "
        answer = ask(self._console, question, interrupts=self._interrupts)
        # a second Ctrl-C, or no more input: leave
        self._handled = self._interrupts.count
        match (answer or "d").lower():
            case "w" | "watch":
                return False
            case "c" | "cancel" if not force:
                self._api.tasks.cancel(task.id)
                self._console.hint(
                    "Cancel requested: terraform stops at a safe point, and its state is kept."
                )
            case "f" | "force" if force:
                self._api.tasks.force_cancel(task.id)
                self._console.hint("The task's process is being killed.")
            case _:
                self._goes_on(task)
                return True
        self._poll.soon()
        return False

    def _goes_on(self, task: Task) -> None:
        if task.status is TaskStatus.APPLY_PENDING:
            self._console.say(
                f"Left {task.id}, whose plan waits: sluice task confirm -f {task.id} applies it, "
                f"sluice task discard {task.id} drops it."
            )
            return
        self._console.say(
            f"Left {task.id}, which goes on on the server: sluice logs -f {task.id}"
        )

    def _endless(self, task: Task) -> bool:
        if task.status not in TERMINAL:
            self._ended_at = None
            return False
        now = self._clock.monotonic()
        if self._ended_at is None:
            self._ended_at = now
        return now - max(self._ended_at, self._heard_at) > _ENDLESS_SECONDS

    def _final(self) -> Watched:
        return Watched(Ending.COMPLETED, self._api.tasks.get(self._poll.latest.id))


def _operations(plan: PlanSummary | None) -> int | None:
    return (
        None if plan is None else plan.add + plan.change + plan.destroy + plan.import_
    )


def _where(task: Task) -> str:
    if task.stage:
        return f"it is in {task.stage.replace('_', ' ')} now"
    return task.reason or f"it is {task.status.replace('_', ' ')} now"


def _waiting(task: Task) -> str:
    """Why the task waits, and what a person may do about it."""
    if task.blocked:
        return f"{task.reason[0].upper()}{task.reason[1:]}.\n{after_gate(task)}"
    if task.reason.startswith("waits for "):
        return f"Waiting{task.reason.removeprefix('waits')}"
    return f"Waiting: {task.reason}"
