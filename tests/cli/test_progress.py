"""How far a task is, read from terraform's own lines."""

from sluice.cli.progress import Progress, bar, describe, planned_operations


def after(*lines: str, stage: str, progress: Progress | None = None) -> Progress:
    found = (progress or Progress()).began(stage)
    for line in lines:
        found = found.line(line)
    return found


def test_the_plan_says_how_many_operations_come() -> None:
    assert planned_operations("Plan: 2 to add, 1 to change, 3 to destroy.") == 6
    assert planned_operations("Plan: 1 to import, 0 to add, 0 to change.") == 1
    found = after("Plan: 5 to add, 0 to change, 1 to destroy.", stage="planning")
    assert found.total == 6


def test_completions_count_while_applying() -> None:
    found = after(
        'module.net.aws_subnet.a["x: y"]: Creating...',
        'module.net.aws_subnet.a["x: y"]: Creation complete after 0s [id=1]',
        "aws_vpc.b: Modifications complete after 1m2s [id=2]",
        "aws_vpc.c: Destruction complete after 3s",
        "aws_vpc.d (deposed object 0a1b): Destruction complete after 0s",
        "aws_vpc.e: Import complete [id=3]",
        "data.aws_ami.f: Read complete after 0s [id=4]",
        "  # aws_vpc.g: Creation complete",
        "Apply complete! Resources: 1 added, 0 changed, 0 destroyed.",
        stage="applying",
    )
    assert found.done == 5


def test_a_whole_task_walks_through_its_stages() -> None:
    found = Progress()
    for stage in ("fetching", "init", "planning", "saving_plan"):
        found = found.began(stage)
        assert not found.applying
        found = found.over(stage)
    found = found.began("fetching")
    assert (found.applying, found.step, found.steps) == (True, 1, 5)
    found = found.over("fetching").began("init").over("init").began("restoring_plan")
    assert (found.step, found.steps) == (3, 5)
    found = found.over("restoring_plan").began("applying")
    assert found.step == 4


def test_the_status_line_has_the_numbers_that_are_known() -> None:
    planning = after("x: Refreshing state... [id=1]", stage="planning")
    assert describe(planning, elapsed="3s") == "plan 3/4 planning · 1 refreshed · 3s"
    applying = Progress(total=4, applying=True).began("applying")
    applying = applying.line("x: Creation complete after 0s")
    shown = describe(applying, elapsed="12s")
    assert shown == "apply 4/5 applying ▓▓▓░░░░░░░░░ 1/4 · 12s"
    assert describe(Progress(), elapsed="1s") == ""
    policy = Progress().began("policy_check")
    assert describe(policy, elapsed="1s") == "waiting at policy check · 1s"


def test_a_gate_is_no_step_of_a_phase() -> None:
    found = Progress().began("saving_plan").over("saving_plan").began("post_plan")
    assert describe(found, elapsed="1s") == "waiting at post plan · 1s"
    found = found.over("post_plan").began("pre_apply")
    assert found.applying
    found = found.over("pre_apply").began("fetching")
    assert (found.step, found.steps) == (1, 5)
    found = found.over("fetching").began("applying").over("applying")
    assert describe(found.began("post_apply"), elapsed="2m") == (
        "waiting at post apply · 2m"
    )


def test_the_bar_is_full_only_at_the_end() -> None:
    assert bar(0, 3, width=6) == "░░░░░░"
    assert bar(99, 100, width=10) == "▓▓▓▓▓▓▓▓▓░"
    assert bar(3, 3, width=6) == "▓▓▓▓▓▓"
    assert bar(9, 3, width=6) == "▓▓▓▓▓▓"
    assert bar(1, 0) == ""
