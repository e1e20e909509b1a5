"""Words and verdicts of policies, and what is read of their texts, without the engine."""

from typing import Any

import pytest

from sluice.base.ids import PolicyId, TaskId
from sluice.policies.model import (
    Finding,
    FindingKind,
    PolicyResult,
    PolicyStatus,
    SourceFault,
)
from sluice.policies.source import Call, Outline, outline
from sluice.policies.verdicts import log_line, verdict
from sluice.wire.run_task import EnforcementLevel

MANDATORY, ADVISORY = EnforcementLevel.MANDATORY, EnforcementLevel.ADVISORY


def result(
    status: PolicyStatus, level: EnforcementLevel = MANDATORY, **fields: Any
) -> PolicyResult:
    wanted = {"name": "rule", **fields}
    return PolicyResult(
        task_id=TaskId("task-1"),
        policy_id=PolicyId("pol-1"),
        level=level,
        digest="",
        status=status,
        **wanted,
    )


def denied(*texts: str) -> tuple[Finding, ...]:
    return tuple(Finding(FindingKind.DENY, text) for text in texts)


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([], ""),
        ([result(PolicyStatus.PASSED)], ""),
        ([result(PolicyStatus.FAILED, ADVISORY, findings=denied("a"))], ""),
        ([result(PolicyStatus.ERROR, ADVISORY, error="e")], ""),
        (
            [result(PolicyStatus.FAILED, findings=denied("a"))],
            "stopped by a mandatory policy: rule: a",
        ),
        (
            [
                result(PolicyStatus.PASSED),
                result(PolicyStatus.ERROR, error="e", name="one"),
                result(PolicyStatus.FAILED, findings=denied(*"abcde"), name="two"),
            ],
            (
                "stopped by mandatory policies: one: could not be judged (e);"
                " two: a, b, c, and 2 more"
            ),
        ),
    ],
)
def test_the_strictest_counts(results: list[PolicyResult], text: str) -> None:
    answer = verdict(results)
    assert (answer.passed, answer.text) == (not text, text)


def test_lines_of_the_log() -> None:
    warned = (Finding(FindingKind.WARN, "w\nx"),)
    assert (
        log_line(result(PolicyStatus.PASSED, findings=warned))
        == "policy rule (mandatory) passed with warnings: w x"
    )
    assert log_line(result(PolicyStatus.PASSED)) == "policy rule (mandatory) passed"
    long = log_line(result(PolicyStatus.FAILED, findings=denied("x" * 5000)))
    assert len(long) < 400
    many = result(PolicyStatus.FAILED, findings=denied(*"abcd"), left_out=6)
    assert log_line(many).endswith("failed: a, b, c, and 7 more")
    assert "could not be judged: e" in log_line(result(PolicyStatus.ERROR, error="e"))
    assert log_line(result(PolicyStatus.CANCELED)).endswith("canceled")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("package a\ndeny[m] { m := 1 }", Outline("a", ("deny",), ())),
        ("# package x\npackage a.b\nwarn contains 1", Outline("a.b", ("warn",), ())),
        (
            'package a["b-c"].d # x\n  default deny := false\nwarn := 1\n',
            Outline('a["b-c"].d', ("deny", "warn"), ()),
        ),
        (
            'package a\ndeny contains "f(x)" if {\n  g(`h(\n)`) # i(1)\n}',
            Outline("a", ("deny",), (Call("g", 3),)),
        ),
        (
            "package a\nf(x) := 1\n  g(x) if x\ndeny if f(g(data.a.f(h.i(1))))",
            Outline("a", ("deny",), (Call("h.i", 4),)),
        ),
        ("package a\ndeny if {\n  not(x)\n}", Outline("a", ("deny",), ())),
    ],
)
def test_outlines(source: str, expected: Outline) -> None:
    assert outline(source) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "deny contains 1 if {\n  xs[_] == 1\n  x[0]\n  [i]\n}",
        "deny contains 1 if {\n  some i, c in xs\n  f(ys[i], c)\n}",
        "deny contains 1 if {\n  i := 1\n  f(xs[i])\n}",
        "deny contains 1 if {\n  i = 1\n  f(xs[i])\n}",
        'deny contains 1 if {\n  [i, j] := split("a.b", ".")\n  f(xs[i][j])\n}',
        "deny contains 1 if {\n  every i in xs { f(ys[i]) }\n}",
        "deny contains 1 if {\n  walk(input, [path, value])\n  f(xs[path], value)\n}",
        "deny contains 1 if f(1)\nf(i) := xs[i]\nf(i) := 2 if {\n  ys[i]\n} else := 3",
        "limit := 3\ndeny contains 1 if f(xs[limit])",
        "import data.a as key\ndeny contains 1 if f(xs[key])",
        "deny[m] {\n  m := 1\n}",
        'deny contains 1 if f("x[i]") # x[i]',
    ],
)
def test_variables_that_have_values(rule: str) -> None:
    assert isinstance(outline(f"package a\n{rule}\n"), Outline)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ('deny contains 1 if {\n  some i\n  startswith(xs[i], "a")\n}', 4),
        ('deny contains 1 if {\n  startswith(xs[i].b, "a")\n}', 3),
        ("deny contains 1 if {\n  some i, j\n  xs[i] == ys[j]\n}", 4),
        ("deny contains 1 if {\n  xs[ i ].t == 1\n}", 3),
        ("deny contains 1 if {\n  xs.i = 1\n  f(xs[i])\n}", 4),
        ("deny contains 1 if {\n  i == 1\n  f(xs[i])\n}", 4),
        ("deny contains 1 if {\n  some i\n  g(i)\n}\n\ng(i) if f(xs[k])", 7),
        ("a if {\n  i := 1\n}\ndeny contains 1 if {\n  f(xs[i])\n}", 6),
        ('deny contains 1 if f({"a"}[i])', 2),
    ],
)
def test_variables_that_the_engine_would_overlook(rule: str, line: int) -> None:
    fault = outline(f"package a\n{rule}\n")
    assert isinstance(fault, SourceFault)
    assert fault.line == line
    assert "stands for every element" in fault.message


@pytest.mark.parametrize(
    "source",
    ["", "deny := 1", "package a", "package a\ndenied := 1", "package\n", "package 1"],
)
def test_texts_without_an_outline(source: str) -> None:
    assert isinstance(outline(source), SourceFault)
