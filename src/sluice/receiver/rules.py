"""For rule files: `rule` marks a function as a rule, `deny` and `warn` are ready-made ones."""

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sluice.receiver.facts import Action, Change, Plan, Task
from sluice.receiver.matching import Conditions, Patterns
from sluice.receiver.model import Severity

__all__ = [
    "Action",
    "Change",
    "Finding",
    "Plan",
    "Rule",
    "Task",
    "deny",
    "rule",
    "warn",
]

Level = Literal["deny", "warn"]
SeverityName = Literal["info", "low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        message: one line.
        body: more, as Markdown.
        url: where to read on.
        severity: instead of the rule's.
        address: the resource; of a rule over changes it is known.
    """

    message: str
    body: str = ""
    url: str = ""
    severity: SeverityName | None = None
    address: str = ""


Found = Iterable[Finding | str] | Finding | str | None
"""What a rule may return: findings, or messages; nothing where all is well."""

Check = Callable[[Any], Found]


class RuleError(ValueError):
    """A rule is not written as rules are."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: a function and what it is for. Calling it calls the function.

    Attributes:
        check: the function.
        name: what it is called in outcomes.
        over: what it is given: each `Change`, the `Plan`, or the `Task`.
        level: whether a finding fails the review or only warns.
        place: file and line.
    """

    check: Check
    name: str
    over: type[Change] | type[Plan] | type[Task]
    level: Level
    severity: Severity | None
    url: str
    place: str

    def __call__(self, fact: Any) -> Found:
        """What the function says."""
        return self.check(fact)


_loaded: ContextVar[list[Rule] | None] = ContextVar("_loaded", default=None)


@contextmanager
def collecting() -> Iterator[list[Rule]]:
    """All rules that are made while the block runs."""
    rules: list[Rule] = []
    token = _loaded.set(rules)
    try:
        yield rules
    finally:
        _loaded.reset(token)


@typing.overload
def rule(check: Check, /) -> Rule: ...


@typing.overload
def rule(
    *,
    level: Level = "deny",
    severity: SeverityName | None = None,
    url: str = "",
    name: str = "",
) -> Callable[[Check], Rule]: ...


def rule(
    check: Check | None = None,
    /,
    *,
    level: Level = "deny",
    severity: SeverityName | None = None,
    url: str = "",
    name: str = "",
) -> Rule | Callable[[Check], Rule]:
    """Mark a function as a rule: ``@rule`` or ``@rule(severity="high")``.

    What its parameter is annotated with decides what it is called for: `Change` (or
    nothing) for every change, `Plan` for the plan, `Task` for the task.

    Args:
        check: the function, where no options are given.
        level: ``deny`` fails the review, ``warn`` only tells.
        severity: how much its findings matter.
        url: where to read on.
        name: what to call it; the function's name by default.
    """
    if check is None:
        return functools.partial(
            _rule, level=level, severity=severity, url=url, name=name
        )
    return _rule(check, level=level, severity=severity, url=url, name=name)


def deny(  # noqa: PLR0913 - one parameter a condition
    *,
    address: Patterns | None = None,
    type: Patterns | None = None,  # noqa: A002 - the word of the plan JSON
    action: Action | Iterable[Action] | None = None,
    attribute: Mapping[str, Any] | None = None,
    message: str = "",
    severity: SeverityName | None = None,
    url: str = "",
) -> Rule:
    """A rule that refuses changes for which all conditions hold.

    Args:
        address: a pattern with ``*`` and ``?``, or several.
        type: a pattern for the resource's type, or several.
        action: ``create``, ``update``, ``delete``, ``replace``, …; a replacement is a
            deletion too.
        attribute: values by path, such as ``{"versioning.enabled": False}``: a text is a
            pattern, None means "not set", a function decides itself.
        message: one line for people.
        severity: how much it matters.
        url: where to read on.
    """
    conditions = _conditions(address, type, action, attribute)
    return _ready_made(
        "deny", conditions, message=message, severity=severity, url=url, place=_caller()
    )


def warn(  # noqa: PLR0913 - one parameter a condition
    *,
    address: Patterns | None = None,
    type: Patterns | None = None,  # noqa: A002 - the word of the plan JSON
    action: Action | Iterable[Action] | None = None,
    attribute: Mapping[str, Any] | None = None,
    message: str = "",
    severity: SeverityName | None = None,
    url: str = "",
) -> Rule:
    """As `deny`, but its findings do not fail the review."""
    conditions = _conditions(address, type, action, attribute)
    return _ready_made(
        "warn", conditions, message=message, severity=severity, url=url, place=_caller()
    )


def _conditions(
    address: Patterns | None,
    type_: Patterns | None,
    action: Action | Iterable[Action] | None,
    attribute: Mapping[str, Any] | None,
) -> Conditions:
    try:
        return Conditions.of(address, type_, action, attribute)
    except ValueError as error:
        raise RuleError(str(error)) from None


def _ready_made(
    level: Level,
    conditions: Conditions,
    *,
    message: str,
    severity: SeverityName | None,
    url: str,
    place: str,
) -> Rule:
    said = message or f"matches {conditions.words}"

    def check(change: Change) -> Found:
        return Finding(said) if conditions.hold(change) else None

    return _kept(
        Rule(
            check=check,
            name=level,
            over=Change,
            level=level,
            severity=_severity(severity),
            url=url,
            place=place,
        )
    )


def _rule(
    check: Check,
    *,
    level: Level,
    severity: SeverityName | None,
    url: str,
    name: str,
) -> Rule:
    code = getattr(check, "__code__", None)
    if code is None or inspect.iscoroutinefunction(check):
        raise RuleError("@rule stands above a plain function (`def`).")
    if level not in typing.get_args(Level):
        raise RuleError(f"level is deny or warn, not {level!r}.")
    return _kept(
        Rule(
            check=check,
            name=name or check.__name__,
            over=_parameter(check),
            level=level,
            severity=_severity(severity),
            url=url,
            place=f"{Path(code.co_filename).name}:{code.co_firstlineno}",
        )
    )


def _parameter(check: Check) -> type[Change] | type[Plan] | type[Task]:
    parameters = list(inspect.signature(check).parameters.values())
    needed = [one for one in parameters if one.default is one.empty]
    if len(needed) != 1 or needed[0].kind not in {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    }:
        raise RuleError(
            f"{check.__name__} takes one parameter: a Change, Plan or Task."
        )
    try:
        given = typing.get_type_hints(check).get(needed[0].name, Change)
    except NameError as error:
        raise RuleError(f"{check.__name__}: {error}.") from None
    if given not in {Change, Plan, Task}:
        raise RuleError(f"{check.__name__} takes a Change, a Plan or a Task.")
    return typing.cast("type[Change] | type[Plan] | type[Task]", given)


def _severity(name: SeverityName | None) -> Severity | None:
    if name is None:
        return None
    if name not in typing.get_args(SeverityName):
        known = ", ".join(typing.get_args(SeverityName))
        raise RuleError(f"severity is one of {known}, not {name!r}.")
    return Severity(name)


def _kept(made: Rule) -> Rule:
    loaded = _loaded.get()
    if loaded is not None:
        loaded.append(made)
    return made


def _caller() -> str:
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame else None
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else ""
