"""Alert rules speak of metrics, labels and routes that a server has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import Counter, Histogram
from starlette.routing import BaseRoute

from sluice.runtasks.schedule import Answer
from sluice.wire.run_task import ResultStatus, RunTaskStage
from tests.support import reference

RULES = reference.ROOT / "deploy" / "alerts" / "sluice.rules.yml"
OF_SCRAPES = {"job", "instance"}
"""Labels that Prometheus itself puts to all it reads."""

VALUES: dict[tuple[str, str], set[str]] = {
    ("sluice_run_task_calls_total", "outcome"): {one.value for one in Answer},
    ("sluice_run_task_results_open", "status"): {one.value for one in ResultStatus},
    ("sluice_run_task_results_total", "status"): {one.value for one in ResultStatus},
    ("sluice_run_task_results_total", "stage"): {one.value for one in RunTaskStage},
    ("sluice_log_archives_total", "outcome"): {"archived", "failed"},
    ("sluice_http_requests_total", "status"): {str(code) for code in range(100, 600)},
    ("up", "job"): {"sluice"},
}


def rules() -> list[dict[str, Any]]:
    """All rules of the file."""
    document = yaml.safe_load(RULES.read_text())
    assert list(document) == ["groups"]
    return [rule for group in document["groups"] for rule in group["rules"]]


def exported() -> dict[str, set[str]]:
    """Every series a server exports, with its labels, and `up`, which Prometheus makes."""
    _, registry = reference.server()
    found: dict[str, set[str]] = {"up": set()}
    for collector in set(registry._names_to_collectors.values()):
        labels = set(getattr(collector, "_labelnames", ()))
        match collector:
            case Counter():
                found[f"{collector._name}_total"] = labels
            case Histogram():
                for end, more in (("bucket", {"le"}), ("sum", set()), ("count", set())):
                    found[f"{collector._name}_{end}"] = labels | more
            case _:
                for family in collector.collect():
                    found |= {one.name: set(one.labels) for one in family.samples}
                    found.setdefault(family.name, labels)
    return found


def routes() -> set[str]:
    """Paths of all routes, WebSockets too."""
    app, _ = reference.server()
    found: list[BaseRoute] = app.router.routes
    return {str(getattr(route, "path", "")) for route in found}


def selectors(expression: str) -> Iterator[promql.VectorSelector]:
    """Every selector of a series in an expression."""
    found: list[promql.VectorSelector] = []

    def visit(part: promql.Expr) -> bool:
        if isinstance(part, promql.VectorSelector):
            found.append(part)
        return True

    promql.walk(promql.parse(expression), pre_visit=visit)
    return iter(found)


def faults(expression: str) -> list[str]:
    """What an expression names that no server has."""
    known = exported()
    wrong = []
    for selector in selectors(expression):
        name = selector.name or ""
        if name not in known:
            wrong.append(f"no metric {name}")
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in known[name] | OF_SCRAPES:
                wrong.append(f"{name} has no label {matcher.name}")
            elif not selects(name, matcher):
                wrong.append(f"{name}: {matcher.name} is never {matcher.value}")
        wrong += [
            f"{name} has no label {label}"
            for label in grouped(expression)
            if label not in known[name] | OF_SCRAPES
        ]
    return wrong


def selects(name: str, matcher: promql.Matcher) -> bool:
    """Whether each alternative of a matcher fits a value that the label may have."""
    if matcher.name == "route":
        values = routes()
    else:
        values = VALUES.get((name, matcher.name), set()) or {matcher.value}
    if any(matcher.op == op for op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)):
        return matcher.value in values
    return all(
        any(re.fullmatch(one, value) for value in values)
        for one in matcher.value.split("|")
    )


def grouped(expression: str) -> set[str]:
    """Labels by which an expression groups."""
    found: set[str] = set()

    def visit(part: promql.Expr) -> bool:
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            found.update(part.modifier.labels)
        return True

    promql.walk(promql.parse(expression), pre_visit=visit)
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_speaks_of_what_there_is(rule: dict[str, Any]) -> None:
    assert list(selectors(rule["expr"]))
    assert faults(rule["expr"]) == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Sluice[A-Za-z]+", rule["alert"])
    assert promql.parse_duration(rule["for"]).total_seconds() >= 60
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert all(len(text) > 10 for text in rule["annotations"].values())
    words = " ".join(rule["annotations"].values())
    kept = grouped(rule["expr"]) or OF_SCRAPES
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= kept
    for path in re.findall(r"docs/[\w/.-]+\.md", words):
        assert (reference.ROOT / path).is_file(), path
    commands = {path for path, _ in reference.commands()}
    for command in re.findall(r"`(sluice(?: [a-z][a-z-]*)+)", words):
        assert command in commands, command


def test_no_alert_stands_twice() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 10


def test_every_alert_is_in_the_guide() -> None:
    guide = Path(reference.ROOT / "docs" / "how-to" / "watch-sluice.md").read_text()
    shown = set(re.findall(r"`(Sluice[A-Za-z]+)`", guide))
    assert shown == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(sluice_http_request_total[5m]) > 0", "no metric"),
        ("sluice_http_requests > 0", "no metric"),
        ("sluice_http_request_seconds > 0", "no metric"),
        ('sluice_run_task_calls_total{result="taken"} > 0', "no label result"),
        ('sluice_run_task_calls_total{outcome="ok"} > 0', "outcome is never ok"),
        ('sluice_http_requests_total{route="/api/v1/ping"} > 0', "route is never"),
        (
            'sluice_http_requests_total{route=~"/readyz|/nowhere/.*"} > 0',
            "route is never",
        ),
        ("sum by (stage) (sluice_run_task_calls_total) > 0", "no label stage"),
    ],
)
def test_what_is_not_there_is_noticed(expression: str, fault: str) -> None:
    found = faults(expression)
    assert len(found) == 1
    assert fault in found[0]


def test_what_is_no_promql_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql.parse("sum by (stage (sluice_run_task_calls_total)")
