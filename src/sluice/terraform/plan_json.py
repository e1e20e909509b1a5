"""Reads what matters of `terraform show -json PLAN`: changes, their sum and outputs, masked.

Only the typed subset below is decoded; the rest of the document is skipped. Values that
Terraform marks as sensitive never leave this module, not even where a provider repeats
them at a place without a mark (`terraform_data.output` does).
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

SENSITIVE = "(sensitive value)"
SHORTEST_REPEATED = 6
"""Shorter secrets are masked where they are marked only: `prod` stands in many names."""

_NOTHING = frozenset({"no-op", "read"})


class PlanJsonError(ValueError):
    """The bytes are no plan JSON of `terraform show -json`."""


class _Importing(msgspec.Struct, frozen=True):
    id: str | None = None


class _Change(msgspec.Struct, frozen=True):
    actions: list[str]
    before: Any = None
    after: Any = None
    after_unknown: Any = None
    before_sensitive: Any = False
    after_sensitive: Any = False
    replace_paths: list[list[str | int]] = []
    importing: _Importing | None = None


class _Resource(msgspec.Struct, frozen=True):
    address: str
    change: _Change
    type: str = ""
    name: str = ""
    mode: str = "managed"
    module_address: str | None = None
    provider_name: str = ""
    action_reason: str | None = None


class _Output(msgspec.Struct, frozen=True):
    sensitive: bool = False
    type: Any = None
    value: Any = None


class _Values(msgspec.Struct, frozen=True):
    outputs: dict[str, _Output] = {}


class _Variable(msgspec.Struct, frozen=True):
    value: Any = None


class _VariableConfig(msgspec.Struct, frozen=True):
    sensitive: bool = False


class _Module(msgspec.Struct, frozen=True):
    variables: dict[str, _VariableConfig] = {}


class _Configuration(msgspec.Struct, frozen=True):
    root_module: _Module = _Module()


class _Plan(msgspec.Struct, frozen=True):
    format_version: str
    terraform_version: str = ""
    resource_changes: list[_Resource] = []
    resource_drift: list[_Resource] = []
    output_changes: dict[str, _Change] = {}
    planned_values: _Values = _Values()
    variables: dict[str, _Variable] = {}
    configuration: _Configuration = _Configuration()
    applyable: bool | None = None


class Summary(msgspec.Struct, frozen=True):
    """How many resources a plan adds, changes, destroys and imports."""

    add: int = 0
    change: int = 0
    destroy: int = 0
    imports: int = 0


class ResourceChange(msgspec.Struct, frozen=True):
    """One resource's change; sensitive values read `(sensitive value)`."""

    address: str
    type: str
    name: str
    module_address: str | None
    provider_name: str
    actions: list[str]
    before: object
    after: object
    after_unknown: object
    replace_paths: list[list[str | int]]
    action_reason: str | None


class OutputChange(msgspec.Struct, frozen=True):
    """One output's change; sensitive values read `(sensitive value)`."""

    name: str
    actions: list[str]
    before: object
    after: object
    after_unknown: bool


class PlannedOutput(msgspec.Struct, frozen=True):
    """An output as it will be; ``value`` is None where sensitive or not yet known."""

    name: str
    sensitive: bool
    type: object
    value: object


class PlanJson(msgspec.Struct, frozen=True):
    """What a plan would do."""

    summary: Summary
    resource_changes: list[ResourceChange]
    output_changes: list[OutputChange]
    outputs: list[PlannedOutput]
    has_changes: bool


_decoder: msgspec.json.Decoder[_Plan] = msgspec.json.Decoder(_Plan)


def read_plan(content: bytes) -> PlanJson:
    """The typed, masked subset of a plan JSON.

    Raises:
        PlanJsonError: the bytes are no plan JSON.
    """
    plan = _decoded(content)
    managed = [item for item in plan.resource_changes if item.mode == "managed"]
    mask = _Mask(plan)
    return PlanJson(
        summary=_sum(managed),
        resource_changes=[
            _shown(item, mask) for item in managed if _matters(item.change)
        ],
        output_changes=[
            _output_change(name, change, mask)
            for name, change in sorted(plan.output_changes.items())
        ],
        outputs=[
            _planned(name, output, plan.output_changes.get(name), mask)
            for name, output in sorted(plan.planned_values.outputs.items())
        ],
        has_changes=_has_changes(plan, managed),
    )


def mask_of(content: bytes) -> Callable[[str], str]:
    """What masks in a text the values that a plan marks as sensitive.

    Raises:
        PlanJsonError: the bytes are no plan JSON.
    """
    return _Mask(_decoded(content)).text


def _decoded(content: bytes) -> _Plan:
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanJsonError(f"not a plan JSON: {error}") from error


def masked(value: object, sensitive: object) -> object:
    """``value`` with every part that ``sensitive`` marks replaced.

    ``sensitive`` is True, False, or a structure of the same shape; where the shapes do
    not fit, the whole value counts as sensitive if any mark is set.
    """
    if sensitive is True:
        return SENSITIVE
    if isinstance(value, dict) and isinstance(sensitive, dict):
        return {key: masked(item, sensitive.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(sensitive, list):
        marks = [*sensitive, *([False] * (len(value) - len(sensitive)))]
        return [masked(item, mark) for item, mark in zip(value, marks, strict=False)]
    return SENSITIVE if value is not None and _any_mark(sensitive) else value


def _any_mark(sensitive: object) -> bool:
    match sensitive:
        case bool():
            return sensitive
        case dict():
            return any(_any_mark(item) for item in sensitive.values())
        case list():
            return any(_any_mark(item) for item in sensitive)
        case _:
            return False


class _Mask:
    """Masks what is marked, and repetitions of marked values elsewhere in the plan."""

    def __init__(self, plan: _Plan) -> None:
        found: set[str] = set()
        for name, variable in plan.configuration.root_module.variables.items():
            if variable.sensitive and name in plan.variables:
                found.update(_texts(plan.variables[name].value, True))
        changes = [item.change for item in plan.resource_changes]
        for change in (*changes, *plan.output_changes.values()):
            found.update(_texts(change.before, change.before_sensitive))
            found.update(_texts(change.after, change.after_sensitive))
        long = (text for text in found if len(text) >= SHORTEST_REPEATED)
        self._secrets = sorted(long, key=len, reverse=True)

    def __call__(self, value: object, sensitive: object) -> object:
        """Masked, but what is not there at all (before a create) stays None."""
        return None if value is None else self._swept(masked(value, sensitive))

    def text(self, text: str) -> str:
        """A text without the marked values."""
        for secret in self._secrets:
            text = text.replace(secret, SENSITIVE)
        return text

    def _swept(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {key: self._swept(item) for key, item in value.items()}
            case list():
                return [self._swept(item) for item in value]
            case _:
                return value


def _texts(value: object, sensitive: object) -> Iterator[str]:
    """All strings inside ``value`` that ``sensitive`` marks."""
    if isinstance(value, str):
        if _any_mark(sensitive):
            yield value
    elif isinstance(value, dict):
        marks = sensitive if isinstance(sensitive, dict) else None
        for key, item in value.items():
            yield from _texts(item, sensitive if marks is None else marks.get(key))
    elif isinstance(value, list):
        listed = sensitive if isinstance(sensitive, list) else None
        for at, item in enumerate(value):
            mark = sensitive
            if listed is not None:
                mark = listed[at] if at < len(listed) else False
            yield from _texts(item, mark)


def _matters(change: _Change) -> bool:
    return change.importing is not None or not _NOTHING.issuperset(change.actions)


def _sum(resources: list[_Resource]) -> Summary:
    changes = [item.change for item in resources]
    return Summary(
        add=sum("create" in change.actions for change in changes),
        change=sum("update" in change.actions for change in changes),
        destroy=sum("delete" in change.actions for change in changes),
        imports=sum(change.importing is not None for change in changes),
    )


def _has_changes(plan: _Plan, managed: list[_Resource]) -> bool:
    if plan.applyable is not None:
        return plan.applyable
    return any(_matters(item.change) for item in managed) or any(
        _matters(change) for change in plan.output_changes.values()
    )


def _shown(resource: _Resource, mask: _Mask) -> ResourceChange:
    change = resource.change
    return ResourceChange(
        address=resource.address,
        type=resource.type,
        name=resource.name,
        module_address=resource.module_address,
        provider_name=resource.provider_name,
        actions=change.actions,
        before=mask(change.before, change.before_sensitive),
        after=mask(change.after, change.after_sensitive),
        after_unknown=change.after_unknown,
        replace_paths=change.replace_paths,
        action_reason=resource.action_reason,
    )


def _output_change(name: str, change: _Change, mask: _Mask) -> OutputChange:
    return OutputChange(
        name=name,
        actions=change.actions,
        before=mask(change.before, change.before_sensitive),
        after=mask(change.after, change.after_sensitive),
        after_unknown=change.after_unknown is True,
    )


def _planned(
    name: str, output: _Output, change: _Change | None, mask: _Mask
) -> PlannedOutput:
    sensitive = output.sensitive or (
        change is not None and _any_mark(change.after_sensitive)
    )
    value = None if sensitive else mask(output.value, False)
    return PlannedOutput(name, sensitive, output.type, value)
