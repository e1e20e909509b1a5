"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.cli import words
from sluice.wire.shapes.tasks import PlanSummary, TaskOptions, TaskType


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0.0s"),
        (6.14, "6.1s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (64, "1m 04s"),
        (3599.6, "1h 00m"),
        (7500, "2h 05m"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1234, "1.2 kB"),
        (999_999, "1.0 MB"),
        (1_230_000_000, "1.2 GB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("back", "text"),
    [(3, "just now"), (42, "42 s ago"), (250, "4 min ago"), (86400, "1 day ago")],
)
def test_times(back: int, text: str) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert words.ago(now - timedelta(seconds=back), now) == text


def test_summaries() -> None:
    plan = PlanSummary(add=2, change=1, destroy=0)
    assert words.summary(plan) == "2 to add, 1 to change, 0 to destroy"
    assert words.short_summary(plan) == "+2 ~1 -0"
    assert words.short_summary(None) == "-"
    imported = PlanSummary(**{"import": 3})
    assert words.summary(imported).startswith("3 to import, 0 to add")


@pytest.mark.parametrize(
    ("kind", "plain", "destroying", "refreshing"),
    [
        (TaskType.PLAN, "plan", "plan of a destroy", "plan of a refresh"),
        (
            TaskType.APPLY,
            "apply of a saved plan",
            "destroy by a saved plan",
            "refresh by a saved plan",
        ),
        (TaskType.PLAN_AND_APPLY, "plan and apply", "destroy", "refresh only"),
        (TaskType.SCRIPT, "script", "script", "script"),
    ],
)
def test_types_of_tasks(
    kind: TaskType, plain: str, destroying: str, refreshing: str
) -> None:
    assert words.task_type(kind, TaskOptions()) == plain
    assert words.task_type(kind, TaskOptions(refresh=False)) == plain
    assert words.task_type(kind, TaskOptions(destroy=True)) == destroying
    assert words.task_type(kind, TaskOptions(refresh_only=True)) == refreshing
