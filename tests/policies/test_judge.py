"""The Rego engine in its child process: what it finds, and what it is kept from."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from sluice.policies.judge import Judge, Limits
from sluice.policies.model import Finding, FindingKind, Judgement, PolicyStatus
from sluice.policies.ports import Question

HEAD = "package terraform\nimport rego.v1\n"
PUBLIC = (
    HEAD
    + """
deny contains finding if {
  some change in input.resource_changes
  change.type == "aws_s3_bucket_acl"
  change.change.after.acl == "public-read"
  finding := {
    "msg": sprintf("%s is public in %s", [change.address, data.sluice.workspace.name]),
    "address": change.address, "severity": "high", "url": "https://example.com/s3",
  }
}

warn contains msg if {
  some change in input.resource_changes
  "delete" in change.change.actions
  msg := sprintf("%s is deleted", [change.address])
}
"""
)
AWS_PLAN = Path(__file__).parent / "aws_plan.json"
FACTS = {"workspace": {"id": "ws-1", "name": "prod"}}


def judge(**limits: int) -> Judge:
    return Judge(Limits(**limits))


async def said(source: str, plan: object = None, **limits: int) -> Judgement:
    content = json.dumps({} if plan is None else plan).encode()
    return await judge(**limits).judge(Question(source, FACTS, content))


def messages(judgement: Judgement) -> list[str]:
    assert judgement.error == ""
    return [item.message for item in judgement.findings]


async def test_a_policy_finds_what_is_public_in_a_plan_for_aws() -> None:
    question = Question(PUBLIC, FACTS, AWS_PLAN.read_bytes())
    found = await judge().judge(question)
    assert found.status is PolicyStatus.FAILED
    assert found.findings == [
        Finding(
            FindingKind.DENY,
            "aws_s3_bucket_acl.site is public in prod",
            "aws_s3_bucket_acl.site",
            "high",
            "https://example.com/s3",
        ),
        Finding(FindingKind.WARN, "aws_instance.old is deleted"),
    ]


async def test_nothing_denied_is_passed() -> None:
    assert (await said(PUBLIC)).status is PolicyStatus.PASSED
    warned = await said(HEAD + 'warn contains "look"')
    assert warned.status is PolicyStatus.PASSED
    assert messages(warned) == ["look"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('deny[msg] { msg := "old style" }', ["old style"]),
        ('deny[msg] { msg := {"msg": "object", "n": 1} }', ["object"]),
        ('import rego.v1\ndeny contains {"msg": "set"}', ["set"]),
        ('import rego.v1\ndeny := ["a", "b"]', ["a", "b"]),
        ('import rego.v1\ndeny := {"msg": "one"}', ["one"]),
        ("import rego.v1\ndeny if input.n == 1", ["the rule `deny` holds"]),
        ("import rego.v1\ndeny if input.n == 2", []),
        ("import rego.v1\ndefault deny := false", []),
        ("import rego.v1\ndeny contains 7", ["7"]),
        (
            'import rego.v1\ndeny contains sprintf("%s %s", [lower("A\\"B\\\\"), "c"]) if true',
            ['a"b\\ c'],
        ),
        (
            'import rego.v1\ndeny contains [1, 1.5, null, {"a": {true}}] if true',
            ['[1, 1.5, null, {"a": [true]}]'],
        ),
        ('import rego.v1\ndeny contains {"a": 1}', ['{"a": 1}']),
        ('import rego.v1\ndeny contains "ü\\"\\n\\\\"', ['ü"\n\\']),
    ],
)
async def test_every_form_of_a_rule_is_understood(
    rule: str, expected: list[str]
) -> None:
    assert messages(await said(f"package terraform\n{rule}\n", {"n": 1})) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            """deny contains msg if {
  some c in changes
  lacking := {"env", "owner"} - object.keys(object.get(c.change.after, "tags", {}))
  count(lacking) > 0
  msg := sprintf("%s lacks %s", [c.address, concat(", ", sort(lacking))])
}
changes := [c | some c in input.resource_changes; c.type == "aws_instance"; c.change.after != null]""",
            ["aws_instance.web lacks owner"],
        ),
        (
            """deny contains msg if {
  walk(input.resource_changes, [path, value])
  path[count(path) - 1] == "volume_size"
  path[2] == "after"
  value > 40
  msg := sprintf("%v GB", [value])
}""",
            ["50 GB"],
        ),
        (
            """deny contains msg if {
  kinds := {kind: n |
    some c in input.resource_changes
    kind := c.type
    n := count([1 | some d in input.resource_changes; d.type == kind])
  }
  some kind, n in kinds
  n > 1
  regex.match(`^aws_(instance|ebs_volume)$`, kind)
  msg := sprintf("%d of %s", [n, kind])
}""",
            ["2 of aws_ebs_volume", "2 of aws_instance"],
        ),
        (
            """deny contains msg if {
  some c in input.resource_changes
  not allowed(c)
  msg := c.address
}
allowed(c) if c.type in {"aws_instance", "aws_ebs_volume", "aws_nat_gateway"}
allowed(c) if startswith(c.type, "aws_iam_")
allowed(c) if c.mode == "data"
""",
            ["aws_s3_bucket_acl.site"],
        ),
        (
            """size(c) := c.change.after.size if is_number(c.change.after.size)
else := 0
deny contains msg if {
  total := sum([size(c) | some c in input.resource_changes])
  total >= 100
  msg := sprintf("%d GB in all, %.1f on average", [total, total / 2])
}""",
            ["100 GB in all, 50.0 on average"],
        ),
        (
            """deny contains "all are updated" if {
  every c in input.resource_changes { "update" in c.change.actions }
}
deny contains "unknown" if input.resource_changes[_].change.after_unknown.arn == true
deny contains "by sets" if {
  {c.type | c := input.resource_changes[_]} & {"aws_ami", "x"} == {"aws_ami"}
}""",
            ["by sets", "unknown"],
        ),
    ],
)
async def test_what_policies_for_terraform_are_made_of(
    rules: str, expected: list[str]
) -> None:
    assert sorted(messages(await said(f"{HEAD}{rules}\n", aws_plan()))) == expected


async def test_any_package_will_do() -> None:
    source = (
        'package a.b["c-d"]\nimport rego.v1\ndeny contains data.sluice.workspace.id'
    )
    assert messages(await said(source)) == ["ws-1"]


@pytest.mark.parametrize(
    "value",
    [
        [1, -1, 2**63, 2**70, 1.5, 1e300, True, False, None],
        'ü"\\\n\t\u0001\u2028\U0001f600 ${x} %s \\u0041',
        {"": {"k.k": []}, "e": {}},
        "data.sluice",
    ],
)
async def test_values_of_a_plan_come_through_unchanged(value: object) -> None:
    found = await said(HEAD + 'deny contains {"v": input.v}', {"v": value})
    (shown,) = messages(found)
    assert json.loads(shown) == {"v": value}


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("deny contains 1 if input.n / 0 == 1", "divide by zero"),
        ('deny contains 1 if lower(input.none) == "x"', "lower"),
        ('deny contains 1 if http.send({"url": "http://127.0.0.1:1"}).status', "HTTP"),
        (
            "deny contains 1 if a == 1\na := 1 if input.n\na := 2 if input.n",
            "multiple outputs",
        ),
    ],
)
async def test_what_cannot_be_judged_is_an_error_and_no_pass(
    rule: str, reason: str
) -> None:
    found = await said(HEAD + rule, {"n": 1, "none": None})
    assert found.status is PolicyStatus.ERROR
    assert reason in found.error


LOOP = """
deny contains "never" if {
  some a in numbers.range(1, 2000)
  some b in numbers.range(1, 2000)
  some c in numbers.range(1, 2000)
  a + b + c == -1
}
"""
HOARD = """
deny contains "never" if {
  all := [y | some a in numbers.range(1, 100000); y := sprintf("%d aaaaaaaaaa", [a])]
  more := [y | some a in all; some b in all; y := concat(a, [b, b])]
  count(more) == -1
}
"""


ENDLESS = """
deny contains "never" if {
  regex.match(`^(a+)+$`, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")
}
"""


async def test_a_policy_that_never_ends_is_stopped() -> None:
    begin = time.monotonic()
    found = await said(HEAD + ENDLESS, seconds=1)
    assert found.status is PolicyStatus.ERROR
    assert "took more than 1 s" in found.error
    assert time.monotonic() - begin < 30


async def test_a_policy_that_loops_is_stopped() -> None:
    found = await said(HEAD + LOOP, seconds=1)
    assert found.status is PolicyStatus.ERROR
    # by the limit of time, or on a fast machine by the engine's own of statements
    assert "took more than 1 s" in found.error or "statement count" in found.error


async def test_a_policy_that_hoards_memory_is_stopped() -> None:
    found = await said(HEAD + HOARD, memory_bytes=300 * 1024**2, seconds=60)
    assert found.status is PolicyStatus.ERROR
    assert "more than 300 MiB of memory" in found.error


async def test_what_a_policy_prints_goes_nowhere() -> None:
    """A megabyte a hundred times over, which nobody reads."""
    source = (
        HEAD
        + """
deny contains "printed" if {
  line := concat("", [x | some i in numbers.range(1, 1000); x := input.kilobyte])
  every i in numbers.range(1, 100) { print(i, line) }
}
"""
    )
    assert messages(await said(source, {"kilobyte": "x" * 1000})) == ["printed"]


async def test_long_and_many_messages_are_cut() -> None:
    many = await said(
        HEAD + 'deny contains sprintf("%d", [i]) if some i in numbers.range(1, 400)'
    )
    assert len(many.findings) == 250
    assert many.left_out == 150
    long = await said(HEAD + "deny contains input.text", {"text": "x" * 5000})
    assert messages(long) == ["x" * 1999 + "…"]


async def test_a_policy_sees_nothing_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLUICE_ENCRYPTION_KEY", "hunter2")
    found = await said(HEAD + "deny contains json.marshal(opa.runtime().env)")
    (shown,) = messages(found)
    assert "SLUICE" not in shown
    assert "hunter2" not in shown


async def test_judgements_wait_for_their_turn() -> None:
    """Five at once with room for one: all are answered, none is mixed up."""
    one = judge(at_once=1)
    questions = [Question(HEAD + f'deny contains "p{n}"', {}, b"{}") for n in range(5)]
    found = await asyncio.gather(*(one.judge(question) for question in questions))
    assert [messages(item) for item in found] == [[f"p{n}"] for n in range(5)]


async def test_a_judgement_that_is_given_up_leaves_no_process() -> None:
    one = judge(seconds=60)
    asked = asyncio.ensure_future(one.judge(Question(HEAD + ENDLESS, {}, b"{}")))
    await asyncio.sleep(0.5)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    # its turn is free again
    again = await one.judge(Question(HEAD + 'deny contains "x"', {}, b"{}"))
    assert messages(again) == ["x"]


# --- texts that are no policies ----------------------------------------------------


async def faults(source: str) -> list[tuple[int, str]]:
    return [(item.line, item.message) for item in await judge().faults(source)]


async def test_a_good_text_has_no_faults() -> None:
    for source in (
        PUBLIC,
        "package main\ndeny[msg] { msg = input.x }",
        HEAD + "f(x) := y if {\n  y := x + 1\n}\ndeny contains f(1)\n# foo(1)",
        HEAD + 'deny contains "call(x)" if print(1)',
        HEAD
        + "deny contains x if {\n  data.terraform.f(1)\n  x := 1\n}\nf(x) if x == 1",
        HEAD + "deny contains 1 if lower(input.acl) == 1",
    ):
        assert await faults(source) == []


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        (HEAD + "deny contains x if {\n  x := := 3\n}", 4, "assignment"),
        ("package terraform\ndeny[msg] {\n  msg := input.rcs[_\n", 3, "unclosed"),
        (HEAD + "deny contains 1 if {\n\n  foo(2)\n}", 5, "no function foo"),
        (HEAD + 'deny contains http.send({"url": ""})', 3, "no function http.send"),
        (HEAD + "deny contains x if some x in deny", 1, "ecursion"),
        ("deny[x] { x := 1 }", 1, "package"),
        (HEAD + "allow := true", 1, "neither a rule `deny` nor `warn`"),
        ("", 1, "package"),
        (
            HEAD + 'deny contains 1 if {\n  startswith(input.a[_].b, "c")\n}',
            4,
            "name the elements first",
        ),
        (HEAD + 'deny contains 1 if {\n  "a" in input.b[_].c\n}', 4, "name the"),
        (
            HEAD + 'deny contains 1 if {\n  some i\n  startswith(input.a[i], "c")\n}',
            5,
            "`[i]` stands for every element",
        ),
    ],
)
async def test_faults_name_the_line(source: str, line: int, words: str) -> None:
    found = await faults(source)
    assert found
    assert found[0][0] == line
    assert words in found[0][1]


def aws_plan() -> Any:
    return json.loads(AWS_PLAN.read_text())
