"""Reads from a plan JSON what each resource is before and after, as prices need it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


class PlanValuesError(ValueError):
    """The bytes are no plan JSON."""


class _Change(msgspec.Struct, frozen=True):
    before: Any = None
    after: Any = None
    after_unknown: Any = None


class _Resource(msgspec.Struct, frozen=True):
    address: str
    change: _Change
    type: str = ""
    mode: str = "managed"


class _Plan(msgspec.Struct, frozen=True):
    resource_changes: list[_Resource] = []


@dataclass(frozen=True, slots=True)
class PlannedResource:
    """A resource before and after; None where it is not there. ``unknown`` marks what
    only an apply will tell.
    """

    address: str
    type: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    unknown: Any


def planned_resources(content: bytes) -> list[PlannedResource]:
    """All resources that a plan keeps, makes, changes or destroys; data sources left out.

    Raises:
        PlanValuesError: this is no plan JSON.
    """
    try:
        plan = msgspec.json.decode(content, type=_Plan)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PlanValuesError(f"the plan JSON cannot be read: {error}") from error
    return [
        PlannedResource(
            resource.address,
            resource.type,
            _object(resource.change.before),
            _object(resource.change.after),
            resource.change.after_unknown,
        )
        for resource in plan.resource_changes
        if resource.mode == "managed"
    ]


def _object(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


def attribute(values: Any, path: str) -> Any:
    """The value at a path such as ``root_block_device.0.volume_size``; None if there is none."""
    for part in path.split("."):
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def is_unknown(marks: Any, path: str) -> bool:
    """Whether the value at a path is one that only an apply will tell."""
    for part in path.split("."):
        if marks is True:
            return True
        marks = attribute(marks, part)
    return marks is True
