"""Rules, what they are asked about, and the review that their findings make."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.receiver.facts import Change, Plan, PlanError, Task, read_plan
from sluice.receiver.judging import judge
from sluice.receiver.model import Severity, Status
from sluice.receiver.rules import Finding, RuleError, collecting, deny, rule, warn
from tests.receiver.plans import PUBLIC_BUCKET, change, plan_json

TASK = Task("post_plan", workspace="network")
PLAN = read_plan(
    plan_json(
        PUBLIC_BUCKET,
        change("aws_x.same", ["no-op"], {"a": 1}, before={"a": 1}),
        change("aws_x.read", ["read"], {"a": 1}),
        change("aws_x.new", ["create"], {"a": 1}),
        change("aws_x.other", ["delete", "create"], {"a": 2}, before={"a": 1}),
    ),
    TASK,
)


def place_of(name: str) -> str:
    """File and number of the line that has this name."""
    lines = Path(__file__).read_text().splitlines()
    found = [at for at, line in enumerate(lines, 1) if line.endswith(f"# line: {name}")]
    return f"{Path(__file__).name}:{found[0]}"


def test_a_rule_sees_what_its_parameter_says() -> None:
    seen: list[str] = []

    @rule
    def without(change):
        seen.append(f"bare {change.address}")

    @rule
    def changes(change: Change) -> None:
        seen.append(f"change {change.address} {change.action}")

    @rule
    def plans(plan: Plan) -> None:
        seen.append(f"plan of {len(plan.resources)}, in {plan.task.workspace}")

    @rule
    def tasks(task: Task) -> None:
        seen.append(f"task at {task.stage}")

    assert judge([without, changes, plans, tasks], TASK, PLAN).passed
    assert seen == [
        "bare aws_s3_bucket.logs",
        "bare aws_x.new",
        "bare aws_x.other",
        "change aws_s3_bucket.logs create",
        "change aws_x.new create",
        "change aws_x.other replace",
        "plan of 5, in network",
        "task at post_plan",
    ]
    seen.clear()
    assert judge([changes, plans, tasks], TASK, None).passed
    assert seen == ["task at post_plan"]


def test_what_a_rule_may_return() -> None:
    @rule
    def nothing(plan: Plan) -> None:
        return None

    @rule
    def text(plan: Plan) -> str:
        return "one\nline"

    @rule
    def finding(plan: Plan) -> Finding:
        return Finding("two", address="aws_x.here", severity="low")

    @rule(severity="high", url="https://example.com/all")
    def several(plan: Plan) -> Iterator[Finding | str]:
        yield "three"
        yield Finding("four", url="https://example.com/four", severity="critical")

    @rule(level="warn")  # line: wrong
    def wrong(plan: Plan) -> Any:
        return [7]

    review = judge([nothing, text, finding, several, wrong], TASK, PLAN)
    assert not review.passed
    assert [one.description for one in review.outcomes] == [
        "one line",
        "aws_x.here: two",
        "three",
        "four",
        f"Rule wrong ({place_of('wrong')}) gave a int; yield Finding(…), or a text.",
    ]
    assert [one.severity for one in review.outcomes] == [
        None,
        Severity.LOW,
        Severity.HIGH,
        Severity.CRITICAL,
        None,
    ]
    assert review.outcomes[2].url == "https://example.com/all"
    assert review.outcomes[3].url == "https://example.com/four"
    assert [one.outcome_id for one in review.outcomes] == [
        "text-1",
        "finding-1",
        "several-1",
        "several-2",
        "wrong-1",
    ]
    # a rule that only warns, and breaks, fails: what it guards is not known
    assert review.outcomes[4].status is Status.ERROR


def test_warnings_pass_and_are_counted() -> None:
    rules = [warn(type="aws_x", message="w"), warn(address="aws_x.new")]
    review = judge(rules, TASK, PLAN)
    assert review.passed
    assert review.message == "2 rules looked at 3 changes: 3 warnings."
    assert [one.outcome_id for one in review.outcomes] == ["warn-1", "warn-2", "warn-3"]
    assert review.outcomes[2].description == "aws_x.new: matches address aws_x.new"
    both = judge([*rules, deny(type="aws_s3_bucket")], TASK, PLAN)
    assert not both.passed
    assert both.message == "3 rules looked at 3 changes: 1 finding, 3 warnings."


def test_what_was_found_before_a_rule_raised_stays() -> None:
    @rule
    def breaks(change: Change) -> Iterator[str]:
        yield "found"
        if change.address == "aws_x.new":
            raise SystemExit("enough")  # line: exit

    review = judge([breaks], TASK, PLAN)
    assert [one.description for one in review.outcomes] == [
        "aws_s3_bucket.logs: found",
        f"Rule breaks raised SystemExit at {place_of('exit')}, looking at aws_x.new.",
    ]


def test_a_rule_stays_a_function() -> None:
    @rule(name="a-name", severity="info")  # line: function
    def check(change: Change) -> str:
        return change.address

    assert check(PLAN.changes[0]) == "aws_s3_bucket.logs"
    assert (check.name, check.place) == ("a-name", place_of("function"))


def test_rules_are_collected_in_their_order() -> None:
    with collecting() as outer:
        first = deny(address="x")  # line: collected
        with collecting() as inner:
            second = warn(address="y")
        third = rule(lambda change: None)
    assert outer == [first, third]
    assert inner == [second]
    assert first.place == place_of("collected")


def _no_parameter() -> None: ...
def _two(change: Change, plan: Plan) -> None: ...
def _other(change: int) -> None: ...
async def _waits(change: Change) -> None: ...


@pytest.mark.parametrize("check", [_no_parameter, _two, _other, _waits, 7])
def test_what_is_no_rule(check: object) -> None:
    with pytest.raises(RuleError):
        rule(check)  # type: ignore[call-overload]


def test_words_of_rules_are_checked() -> None:
    with pytest.raises(RuleError, match="severity is one of"):
        deny(address="x", severity="bad")  # type: ignore[arg-type]
    with pytest.raises(RuleError, match="level is deny or warn"):
        rule(level="maybe")(lambda change: None)  # type: ignore[call-overload]
    with pytest.raises(RuleError, match="at least one"):
        deny(message="everything")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff", b'{"format_version": 1}', b"[" * 100_000],
)
def test_what_is_no_plan(content: bytes) -> None:
    with pytest.raises(PlanError):
        read_plan(content, TASK)


def test_a_plan_keeps_the_whole_document() -> None:
    assert PLAN.document["terraform_version"] == "1.11.4"
