"""The process that runs rules over one plan: `python -m sluice.receiver.rule_child`.

Rules are code of others: apart from the service they can be stopped, may print, and take
their memory with them when they end.
"""

import sys
from pathlib import Path

import msgspec

from sluice.base.errors import SluiceError
from sluice.receiver.facts import PlanError, Task, read_plan
from sluice.receiver.judging import judge
from sluice.receiver.loading import load_rules
from sluice.receiver.model import Review, failed


class Assignment(msgspec.Struct, frozen=True):
    """What the process is to do: files by path, `plan` empty where there is none."""

    rules: list[str]
    plan: str
    review: str
    task: Task


def run(assignment: Assignment) -> Review:
    """The review of one plan."""
    try:
        rules = load_rules([Path(name) for name in assignment.rules])
        if not assignment.plan:
            return judge(rules, assignment.task, None)
        plan = read_plan(Path(assignment.plan).read_bytes(), assignment.task)
    except SluiceError as error:
        return failed(f"The rules cannot be loaded: {error.detail}")
    except PlanError:
        return failed("The platform sent something that is no plan JSON.")
    return judge(rules, assignment.task, plan)


def main() -> None:
    """Read the assignment from the file that the first argument names."""
    given = Path(sys.argv[1]).read_bytes()
    assignment = msgspec.json.decode(given, type=Assignment)
    Path(assignment.review).write_bytes(msgspec.json.encode(run(assignment)))


if __name__ == "__main__":
    main()
