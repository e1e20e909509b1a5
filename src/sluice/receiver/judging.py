"""Asks every rule about a task and its plan, and makes one review of what they say."""

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from sluice.receiver.facts import Change, Plan, Task
from sluice.receiver.model import Outcome, Review, Severity, Status, counted
from sluice.receiver.rules import Finding, Rule

_LONGEST_NAME = 50
_STATUS = {"deny": Status.FAILED, "warn": Status.WARNING}


class RuleFailure(Exception):  # noqa: N818 - the rule failed, not this program
    """A rule raised, or returned what is no finding; the text says where, never a value."""


def judge(rules: Sequence[Rule], task: Task, plan: Plan | None) -> Review:
    """What the rules say; without a plan only those over the task are asked."""
    asked = [rule for rule in rules if plan is not None or rule.over is Task]
    outcomes: list[Outcome] = []
    counts: Counter[str] = Counter()
    for rule in asked:
        outcomes += _numbered(rule, list(_outcomes(rule, task, plan)), counts)
    failed = sum(item.status is not Status.WARNING for item in outcomes)
    warned = len(outcomes) - failed
    looked = counted(len(asked), "rule")
    if plan is not None:
        looked += f" looked at {counted(len(plan.changes), 'change')}"
    else:
        looked += " looked at the task"
    said = [counted(failed, "finding")] if failed else []
    said += [counted(warned, "warning")] if warned else []
    return Review(
        passed=not failed,
        message=f"{looked}: {', '.join(said) or 'nothing found'}.",
        outcomes=outcomes,
    )


def _numbered(
    rule: Rule, outcomes: list[Outcome], counts: Counter[str]
) -> list[Outcome]:
    """The outcomes with ids of their own: the rule's name and a number."""
    named = []
    for one in outcomes:
        counts[rule.name] += 1
        outcome_id = f"{rule.name[:_LONGEST_NAME]}-{counts[rule.name]}"
        named.append(msgspec.structs.replace(one, outcome_id=outcome_id))
    return named


def _outcomes(rule: Rule, task: Task, plan: Plan | None) -> Iterator[Outcome]:
    """The findings of one rule; what it raises is the last of them."""
    try:
        for fact in _facts(rule, task, plan):
            for finding in _findings(rule, fact):
                yield _outcome(rule, fact, finding)
    except RuleFailure as failure:
        yield Outcome(
            outcome_id="",
            description=str(failure),
            status=Status.ERROR,
            severity=rule.severity,
            body="The rule did not come to an end, so what it guards is not known to be"
            " well. The log of the service has the whole error.",
        )


def _facts(rule: Rule, task: Task, plan: Plan | None) -> Iterator[Change | Plan | Task]:
    if rule.over is Task:
        yield task
    elif plan is not None:
        yield from [plan] if rule.over is Plan else plan.changes


def _findings(rule: Rule, fact: Change | Plan | Task) -> list[Finding]:
    """What a rule says of one thing.

    Raises:
        RuleFailure: it raised, or said something else.
    """
    try:
        found = rule.check(fact)
        if found is None:
            return []
        if isinstance(found, Finding | str):
            found = [found]
        listed = list(found)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raise RuleFailure(
            f"Rule {rule.name} raised {type(error).__name__} at"
            f" {_where(rule, error)}{_about(fact)}."
        ) from error
    return [_checked(rule, one) for one in listed]


def _checked(rule: Rule, found: object) -> Finding:
    finding = Finding(found) if isinstance(found, str) else found
    if not isinstance(finding, Finding):
        raise RuleFailure(
            f"Rule {rule.name} ({rule.place}) gave a {type(found).__name__}; yield"
            " Finding(…), or a text."
        )
    if finding.severity is not None and finding.severity not in list(Severity):
        raise RuleFailure(
            f"Rule {rule.name} ({rule.place}) gave an unknown severity; take info, low,"
            " medium, high or critical."
        )
    return finding


def _where(rule: Rule, error: BaseException) -> str:
    """File and line at which the rule's own code raised."""
    code = getattr(rule.check, "__code__", None)
    home = code.co_filename if code else ""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == home
    ]
    if not frames:
        return rule.place
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _about(fact: Change | Plan | Task) -> str:
    return f", looking at {fact.address}" if isinstance(fact, Change) else ""


def _outcome(rule: Rule, fact: Change | Plan | Task, finding: Finding) -> Outcome:
    address = finding.address or (fact.address if isinstance(fact, Change) else "")
    message = " ".join(str(finding.message).split()) or rule.name
    named = finding.severity
    return Outcome(
        outcome_id="",
        description=f"{address}: {message}" if address else message,
        status=_STATUS[rule.level],
        severity=Severity(named) if named is not None else rule.severity,
        body=_body(rule, fact, finding, address),
        url=finding.url or rule.url,
    )


def _body(
    rule: Rule, fact: Change | Plan | Task, finding: Finding, address: str
) -> str:
    rows = [f"- rule: {_code(rule.name)} ({_code(rule.place)})"]
    if address:
        rows.insert(0, f"- resource: {_code(address)}")
    if isinstance(fact, Change):
        rows.insert(1, f"- action: {fact.action}")
    return "\n\n".join(part for part in (str(finding.body), "\n".join(rows)) if part)


def _code(text: str) -> str:
    plain = text.replace("`", "'")
    return f"`{plain}`"
