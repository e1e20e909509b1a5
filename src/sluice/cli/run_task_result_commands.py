"""`sluice run-task results` and `override`: what run tasks said of a task, and who lets it pass."""

from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import ansi
from sluice.cli.options import takes_records
from sluice.cli.session import Session
from sluice.wire.run_task import RunTaskStage
from sluice.wire.shapes.run_task_results import (
    RunTaskOutcome,
    RunTaskResult,
    RunTaskResults,
)

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")]


@takes_records
def results(
    task: TaskId,
    *,
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome", metavar="ID", help="Write the Markdown of this outcome alone."
        ),
    ] = None,
    session: Session,
) -> None:
    """Show what run tasks said of a task, with their outcomes."""
    found = session.api.tasks.get(task)
    if outcome is not None:
        body = session.api.run_task_results.body(found, outcome)
        if session.json:
            session.console.json({"id": outcome, "body": body})
        else:
            for line in body.splitlines():
                session.console.line(ansi.plain(line))
        return
    said = session.api.run_task_results.list(found)
    if session.json:
        session.console.json(said)
        return
    if not said.results:
        session.console.hint(f"No run task is asked of {task}.")
        return
    session.console.table(
        ["STAGE", "NAME", "LEVEL", "STATUS", "MESSAGE"],
        [
            [item.stage, item.name, item.enforcement_level, _status(item), _words(item)]
            for item in said.results
        ],
    )
    _show_outcomes(session, said)
    if any(item.can_override for item in said.results):
        session.console.hint(
            f"\n`sluice run-task override {task} NAME --reason WHY` lets a failed one pass."
        )


@takes_records
def override(
    task: TaskId,
    result: Annotated[
        str,
        typer.Argument(
            metavar="RESULT", help="Name of the run task, or id of its result."
        ),
    ],
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why it may pass; shown to others.")
    ],
    stage: Annotated[
        RunTaskStage | None,
        typer.Option("--stage", help="Where it is asked at several stages."),
    ] = None,
    session: Session,
) -> None:
    """Let a failed mandatory result pass; a blocked task goes on, a failed one's plan may be applied."""
    found = session.api.tasks.get(task)
    before = session.api.run_task_results.list(found)
    wanted = _wanted(before, task, result, stage)
    after = session.api.run_task_results.override(found, wanted.result_id, reason)
    if session.json:
        session.console.json(after)
        return
    session.console.good(f"{wanted.name} ({wanted.stage}) counts as passed for {task}.")
    if any(item.can_override for item in after.results):
        session.console.hint("Others still stand against it.")
    elif session.api.tasks.get(task).gate_overridden:
        session.console.hint(f"`sluice apply --plan {task}` applies its plan.")
    else:
        session.console.hint(f"`sluice logs -f {task}` follows it.")


def _wanted(
    said: RunTaskResults, task: str, wanted: str, stage: RunTaskStage | None
) -> RunTaskResult:
    named = [
        item
        for item in said.results
        if wanted in {item.name, item.result_id} and stage in {None, item.stage}
    ]
    # a run task that is asked at many stages fails at one of them
    for some in (named, [item for item in named if item.can_override]):
        if len(some) == 1:
            return some[0]
    if not named:
        names = ", ".join(dict.fromkeys(item.name for item in said.results)) or "none"
        raise NotFoundError(f"{task} has no result of {wanted!r}; there is {names}.")
    stages = ", ".join(item.stage for item in named)
    raise InvalidInputError(
        f"{wanted} is asked of {task} at {stages}; say which with --stage."
    )


def _status(item: RunTaskResult) -> str:
    return item.status if item.override is None else f"{item.status}, overridden"


def _words(item: RunTaskResult) -> str:
    if item.override is not None:
        return f"{item.override.by}: {item.override.reason}"
    return item.message or item.url or "-"


def _show_outcomes(session: Session, said: RunTaskResults) -> None:
    rows = [
        [item.name, outcome.id, _labels(outcome), outcome.description, outcome.url]
        for item in said.results
        for outcome in item.outcomes
    ]
    if rows:
        session.console.line()
        session.console.table(["NAME", "OUTCOME", "LABELS", "DESCRIPTION", "URL"], rows)


def _labels(outcome: RunTaskOutcome) -> str:
    labels = [label.label for tag in outcome.tags for label in tag.labels]
    return " ".join(labels) or "-"
