"""Which run tasks are asked in a workspace, where, and how much their answers count."""

import pytest

from sluice.runtasks.asking import asked_of
from sluice.runtasks.model import Asked
from sluice.wire.run_task import EnforcementLevel, RunTaskStage
from tests.runtasks.definitions import (
    ADVISORY,
    MANDATORY,
    make_attachment,
    make_run_task,
)

PRE, POST = RunTaskStage.PRE_PLAN, RunTaskStage.POST_PLAN
PRE_APPLY, AFTER = RunTaskStage.PRE_APPLY, RunTaskStage.POST_APPLY


def facts(asked: list[Asked]) -> list[tuple[str, RunTaskStage, EnforcementLevel, bool]]:
    return [(one.run_task.name, one.stage, one.level, one.enabled) for one in asked]


def test_nothing_is_asked_where_nothing_is_attached_or_global() -> None:
    assert asked_of([], []) == []
    assert asked_of([make_run_task("scan")], []) == []


def test_attached_and_global_ones_come_by_name_and_stage() -> None:
    scan = make_run_task("scan")
    cost = make_run_task("cost", is_global=True, global_stages=(PRE, POST))
    attached = [
        make_attachment(scan, PRE_APPLY),
        make_attachment(scan, PRE, ADVISORY),
    ]
    assert facts(asked_of([scan, cost], attached)) == [
        ("cost", PRE, ADVISORY, True),
        ("cost", POST, ADVISORY, True),
        ("scan", PRE, ADVISORY, True),
        ("scan", PRE_APPLY, MANDATORY, True),
    ]


def test_what_is_no_more_global_is_not_asked_at_its_former_stages() -> None:
    scan = make_run_task("scan", is_global=False, global_stages=(PRE,))
    assert asked_of([scan], []) == []


@pytest.mark.parametrize(
    ("of_all", "attached", "enabled", "expected"),
    [
        (ADVISORY, ADVISORY, True, (ADVISORY, True)),
        (ADVISORY, MANDATORY, True, (MANDATORY, True)),
        (MANDATORY, ADVISORY, True, (MANDATORY, True)),
        (MANDATORY, ADVISORY, False, (MANDATORY, True)),
        # an attachment that is switched off makes nothing stricter
        (ADVISORY, MANDATORY, False, (ADVISORY, True)),
    ],
)
def test_the_stricter_level_of_those_enabled_counts(
    of_all: EnforcementLevel,
    attached: EnforcementLevel,
    enabled: bool,
    expected: tuple[EnforcementLevel, bool],
) -> None:
    scan = make_run_task(
        "scan", is_global=True, global_stages=(POST,), global_level=of_all
    )
    attachment = make_attachment(scan, POST, attached, enabled=enabled)
    assert facts(asked_of([scan], [attachment])) == [("scan", POST, *expected)]


def test_a_run_task_that_is_switched_off_is_named_and_not_enabled() -> None:
    scan = make_run_task("scan", enabled=False, is_global=True, global_stages=(PRE,))
    off = make_attachment(make_run_task("other"), POST, enabled=False)
    found = asked_of([scan, make_run_task("other")], [make_attachment(scan, POST), off])
    assert facts(found) == [
        ("other", POST, MANDATORY, False),
        ("scan", PRE, ADVISORY, False),
        ("scan", POST, MANDATORY, False),
    ]


def test_after_the_apply_all_are_advisory() -> None:
    scan = make_run_task(
        "scan", is_global=True, global_stages=(AFTER,), global_level=MANDATORY
    )
    other = make_run_task("other")
    found = asked_of([scan, other], [make_attachment(other, AFTER, MANDATORY)])
    assert facts(found) == [
        ("other", AFTER, ADVISORY, True),
        ("scan", AFTER, ADVISORY, True),
    ]


def test_an_attachment_of_a_run_task_that_is_gone_asks_nothing() -> None:
    assert asked_of([], [make_attachment(make_run_task("gone"))]) == []
