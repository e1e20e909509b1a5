"""Asks whether a plan is to be applied, with its numbers and what it destroys repeated."""

from collections.abc import Callable
from enum import Enum, auto

from sluice.base.errors import SluiceError
from sluice.cli import words
from sluice.cli.console import Console
from sluice.cli.keyboard import Interrupts, ask
from sluice.client.api import Api
from sluice.wire.shapes.tasks import Task

_NAMED = 10


class Answer(Enum):
    """What became of the question."""

    CONFIRMED = auto()
    DISCARDED = auto()
    LATER = auto()
    INTERRUPTED = auto()
    DECIDED = auto()


class Approval:
    """The question, and what follows from its answer."""

    def __init__(self, api: Api, console: Console, interrupts: Interrupts) -> None:
        self._api = api
        self._console = console
        self._interrupts = interrupts

    def decide(self, task: Task, *, waits: Callable[[], bool]) -> Answer:
        """Ask until there is an answer, or somebody else has decided.

        Raises:
            SluiceError: the server refuses what was answered.
        """
        self._repeat(task)
        before = self._interrupts.count
        while True:
            answer = ask(
                self._console,
                "Apply it? yes applies, no discards, later leaves it waiting: ",
                interrupts=self._interrupts,
                wanted=waits,
            )
            if self._interrupts.count > before:
                return Answer.INTERRUPTED
            if answer is None and not waits():
                return Answer.DECIDED
            match (answer or "later").lower():
                case "yes":
                    self._api.tasks.confirm(task.id)
                    return Answer.CONFIRMED
                case "no":
                    self._api.tasks.discard(task.id)
                    return Answer.DISCARDED
                case "later":
                    return Answer.LATER
                case _:
                    self._console.hint("Type yes, no or later.")

    def _repeat(self, task: Task) -> None:
        console = self._console
        plan = task.summary
        numbers = f": {words.summary(plan)}" if plan else ""
        console.say(
            console.paint(f"\nThe plan waits for confirmation{numbers}.", "bold")
        )
        if plan and plan.destroy:
            for address in self._destroyed(task):
                console.say(f"  {console.paint('-', 'red')} {address}")

    def _destroyed(self, task: Task) -> list[str]:
        try:
            changes = self._api.tasks.changes(task).resource_changes
        except SluiceError:
            # the numbers stand above; the names are a help, no condition
            return []
        names = [
            f"{change.address} will be "
            + ("replaced" if "create" in change.actions else "destroyed")
            for change in changes
            if "delete" in change.actions
        ]
        more = len(names) - _NAMED
        return names if more <= 0 else [*names[:_NAMED], f"and {more} more"]
