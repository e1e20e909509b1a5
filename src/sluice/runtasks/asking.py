"""Which run tasks are asked in a workspace, where, and how much their answers count."""

from collections.abc import Iterable

from sluice.runtasks.model import Asked, RunTask, WorkspaceRunTask
from sluice.wire.run_task import EnforcementLevel, RunTaskStage


def asked_of(
    run_tasks: Iterable[RunTask], attachments: Iterable[WorkspaceRunTask]
) -> list[Asked]:
    """All that is to be asked, one for each (run task, stage), by name and stage.

    Where a run task is both global and attached, it is enabled if one of them is, and the
    stricter level of those that are enabled counts. After the apply all are advisory.

    Args:
        run_tasks: those of the organization that are global or attached.
        attachments: those of the workspace; of a run task that is not among the others
            (it was deleted meanwhile) nothing is asked.
    """
    known = {run_task.id: run_task for run_task in run_tasks}
    ways = [
        Asked(run_task, stage, run_task.global_level, run_task.enabled)
        for run_task in known.values()
        if run_task.is_global
        for stage in run_task.global_stages
    ]
    for attachment in attachments:
        run_task = known.get(attachment.run_task_id)
        if run_task is None:
            continue
        enabled = run_task.enabled and attachment.enabled
        level = attachment.enforcement_level
        ways.append(Asked(run_task, attachment.stage, level, enabled))
    strictest: dict[tuple[str, RunTaskStage], Asked] = {}
    for way in sorted(ways, key=_weight):
        strictest[way.run_task.id, way.stage] = way
    stages = list(RunTaskStage)
    return sorted(
        (_advisory_after_apply(way) for way in strictest.values()),
        key=lambda way: (way.run_task.name, stages.index(way.stage)),
    )


def _weight(way: Asked) -> tuple[bool, bool]:
    return way.enabled, way.level is EnforcementLevel.MANDATORY


def _advisory_after_apply(way: Asked) -> Asked:
    if way.stage is not RunTaskStage.POST_APPLY:
        return way
    return Asked(way.run_task, way.stage, EnforcementLevel.ADVISORY, way.enabled)
