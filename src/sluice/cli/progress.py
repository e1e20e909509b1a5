"""Reads how far terraform is from its own lines, and how far a task is from its stages."""

import re
from dataclasses import dataclass, field, replace
from typing import ClassVar

from sluice.wire.events import Stage

_DONE = re.compile(
    r"^[^\s:].*: (?:Creation|Modifications|Destruction|Import) complete\b"
)
_REFRESHED = re.compile(r"^[^\s:].*: Refreshing state\.\.\.")
_COUNT = re.compile(r"(\d+) to (import|add|change|destroy)")
_PLAN = re.compile(r"^Plan: ")

PLAN_STAGES = (Stage.FETCHING, Stage.INIT, Stage.PLANNING, Stage.SAVING_PLAN)
APPLY_STAGES = (
    Stage.FETCHING,
    Stage.INIT,
    Stage.RESTORING_PLAN,
    Stage.APPLYING,
    Stage.SAVING_STATE,
)
GATES = frozenset(
    {
        Stage.PRE_PLAN,
        Stage.COST_ESTIMATION,
        Stage.POST_PLAN,
        Stage.POLICY_CHECK,
        Stage.PRE_APPLY,
        Stage.POST_APPLY,
    }
)
"""Stages in which nobody works on the task: it waits for answers."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is: its stage, and resources done of how many.

    ``total`` is None until the plan's summary line was seen.
    """

    BAR: ClassVar[int] = 12

    stage: str = ""
    step: int = 0
    applying: bool = False
    refreshed: int = 0
    done: int = 0
    total: int | None = None
    ended: frozenset[str] = field(default=frozenset())

    def began(self, stage: str) -> "Progress":
        """A stage began."""
        applying = self.applying or stage in {
            Stage.RESTORING_PLAN,
            Stage.APPLYING,
            Stage.PRE_APPLY,
        }
        if stage in self.ended:
            # fetching and init come again: the apply phase has begun
            applying = True
        stages = APPLY_STAGES if applying else PLAN_STAGES
        step = [*stages].index(Stage(stage)) + 1 if stage in stages else 0
        return replace(self, stage=stage, step=step, applying=applying)

    def over(self, stage: str) -> "Progress":
        """A stage ended."""
        return replace(self, stage="", ended=self.ended | {stage})

    def line(self, text: str) -> "Progress":
        """A line of output, without colours."""
        if self.stage == Stage.APPLYING:
            if _DONE.match(text):
                return replace(self, done=self.done + 1)
            return self
        if _REFRESHED.match(text):
            return replace(self, refreshed=self.refreshed + 1)
        if _PLAN.match(text):
            return replace(self, total=planned_operations(text))
        return self

    @property
    def steps(self) -> int:
        """How many stages the present phase has."""
        return len(APPLY_STAGES if self.applying else PLAN_STAGES)


def planned_operations(text: str) -> int:
    """How many operations `Plan: 2 to add, 1 to change, 3 to destroy.` announces."""
    return sum(int(number) for number, _ in _COUNT.findall(text))


def bar(done: int, total: int, *, width: int = Progress.BAR) -> str:
    """A bar such as ``▓▓▓▓▓░░░``; never full before everything is done."""
    if total <= 0:
        return ""
    filled = min(done * width // total, width)
    return "▓" * filled + "░" * (width - filled)


def describe(progress: Progress, *, elapsed: str) -> str:
    """One status line: phase and step, stage, bar of resources, time in the stage."""
    if not progress.stage:
        return ""
    phase = "apply" if progress.applying else "plan"
    head = f"{phase} {progress.step}/{progress.steps}" if progress.step else phase
    if progress.stage in GATES:
        head = "waiting at"
    parts = [f"{head} {stage_name(progress.stage)}"]
    if progress.stage == Stage.APPLYING and progress.total:
        shown = bar(progress.done, progress.total)
        parts[0] += f" {shown} {progress.done}/{progress.total}"
    elif progress.stage == Stage.PLANNING and progress.refreshed:
        parts.append(f"{progress.refreshed} refreshed")
    return " · ".join([*parts, elapsed])


def stage_name(stage: str) -> str:
    """A stage as people read it: ``saving plan``."""
    return stage.replace("_", " ")
