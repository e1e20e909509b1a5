"""Reviews plans by rule files, each plan in a process of its own."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from sluice.receiver.calls import Call
from sluice.receiver.facts import Task
from sluice.receiver.model import Review
from sluice.receiver.ports import Order, ReviewError
from sluice.receiver.program import Program, run_program
from sluice.receiver.rule_child import Assignment


class RuleReviewer:
    """Runs rule files over a plan. Changed files count from the next review on.

    Args:
        files: the rule files.
        environment: what the rules' processes see.
    """

    def __init__(self, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._files = [str(file.resolve()) for file in files]
        self._environment = environment

    async def review(self, order: Order) -> Review:
        """What the rules say.

        Raises:
            ReviewError: their process came to nothing.
        """
        order.say("Asking the rules.")
        answer = order.directory / "review.json"
        assignment = Assignment(
            rules=self._files,
            plan=str(order.plan) if order.plan else "",
            review=str(answer),
            task=task_of(order.call),
        )
        given = order.directory / "assignment.json"
        given.write_bytes(msgspec.json.encode(assignment))
        code = await run_program(
            Program(
                argv=[sys.executable, "-m", "sluice.receiver.rule_child", str(given)],
                directory=order.directory,
                environment=self._environment,
            )
        )
        try:
            return msgspec.json.decode(answer.read_bytes(), type=Review)
        except (OSError, msgspec.MsgspecError) as error:
            raise ReviewError(
                f"The process of the rules ended with {code} and without an answer; the"
                " log of the service says more."
            ) from error


def task_of(call: Call) -> Task:
    """The task that a call tells of."""
    return Task(
        stage=call.stage,
        organization=call.organization_name or "",
        workspace=call.workspace_name or "",
        workspace_id=call.workspace_id or "",
        task_id=call.run_id or "",
        description=call.run_message or "",
        created_by=call.run_created_by or "",
        speculative=bool(call.is_speculative),
    )
