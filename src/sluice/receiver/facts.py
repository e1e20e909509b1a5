"""What rules look at: the plan, its changes, and the task it belongs to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Action = Literal["create", "update", "delete", "replace", "read", "no-op", "forget"]

_QUIET = frozenset({"no-op", "read"})


class PlanError(ValueError):
    """The bytes are no plan JSON."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a plan does to one resource.

    Attributes:
        address: such as ``module.net.aws_subnet.a["x"]``.
        type: such as ``aws_subnet``.
        name: the name in the configuration.
        mode: ``managed``, or ``data``.
        module: the module's address; empty in the root module.
        provider: such as ``registry.terraform.io/hashicorp/aws``.
        actions: as in the plan JSON; a replacement has ``delete`` and ``create``.
        before: the values now; empty where there is nothing yet.
        after: the values afterwards, as far as they are known.
        unknown: marks what is known only after the apply.
        imported: whether it is imported.
    """

    address: str
    type: str
    name: str
    mode: str
    module: str
    provider: str
    actions: Sequence[str]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    unknown: Mapping[str, Any]
    imported: bool

    @property
    def action(self) -> str:
        """The actions in one word: `Action`."""
        if "delete" in self.actions and "create" in self.actions:
            return "replace"
        return self.actions[0] if self.actions else "no-op"

    @property
    def deletes(self) -> bool:
        """Whether what is there goes, for good or to be replaced."""
        return "delete" in self.actions

    @property
    def values(self) -> Mapping[str, Any]:
        """The values afterwards; of what is deleted, those it has now."""
        return self.before if self.action in {"delete", "forget"} else self.after

    @property
    def changes_something(self) -> bool:
        """Whether it is more than a look at what is there."""
        return self.imported or not _QUIET.issuperset(self.actions)

    def at(self, path: str) -> list[Any]:
        """All values at a path such as ``ingress.cidr_blocks.0``; a list is walked through."""
        return list(values_at(self.values, path.split(".")))

    def is_unknown(self, path: str) -> bool:
        """Whether a value at the path is known only after the apply."""
        return _marked(self.unknown, path.split("."))


@dataclass(frozen=True, slots=True)
class Task:
    """The task that waits at the gate, as the call tells of it; unknown fields are empty."""

    stage: str
    organization: str = ""
    workspace: str = ""
    workspace_id: str = ""
    task_id: str = ""
    description: str = ""
    created_by: str = ""
    speculative: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan.

    Attributes:
        task: the task that waits.
        resources: every resource of the plan, also those that stay as they are.
        changes: those that change.
        document: the plan JSON itself (``terraform show -json``), secrets included.
    """

    task: Task
    resources: Sequence[Change]
    changes: Sequence[Change] = field(init=False)
    document: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Pick out what changes."""
        changes = [item for item in self.resources if item.changes_something]
        object.__setattr__(self, "changes", changes)


class _Change(msgspec.Struct):
    actions: list[str]
    before: Any = None
    after: Any = None
    after_unknown: Any = None
    importing: Any = None


class _Resource(msgspec.Struct):
    address: str
    change: _Change
    type: str = ""
    name: str = ""
    mode: str = "managed"
    module_address: str | None = None
    provider_name: str | None = None


class _Plan(msgspec.Struct):
    format_version: str
    resource_changes: list[_Resource] | None = None


class _Head(msgspec.Struct):
    format_version: str


_head: msgspec.json.Decoder[_Head] = msgspec.json.Decoder(_Head)


def read_plan(content: bytes, task: Task) -> Plan:
    """The plan in a plan JSON.

    Raises:
        PlanError: the bytes are no plan JSON.
    """
    try:
        document = msgspec.json.decode(content)
        plan = msgspec.convert(document, _Plan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"not a plan JSON: {error}") from error
    resources = [_change(item) for item in plan.resource_changes or []]
    return Plan(task=task, resources=resources, document=document)


def check_plan(content: "bytes | memoryview") -> None:
    """Whether the bytes are a plan JSON at all; builds next to nothing.

    Raises:
        PlanError: they are none.
    """
    try:
        _head.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"not a plan JSON: {error}") from error


def values_at(value: object, path: Sequence[str]) -> Iterator[Any]:
    """All values at a path; lists are walked through where no number picks an element."""
    if not path:
        yield value
    elif isinstance(value, Mapping):
        if path[0] in value:
            yield from values_at(value[path[0]], path[1:])
    elif isinstance(value, list):
        if path[0].isdecimal():
            at = int(path[0])
            yield from values_at(value[at], path[1:]) if at < len(value) else ()
        else:
            for item in value:
                yield from values_at(item, path)


def _marked(mark: object, path: Sequence[str]) -> bool:
    """Whether a mark stands at the path, above it or below it."""
    if isinstance(mark, Mapping):
        inner = mark.values() if not path else [mark.get(path[0])]
        return any(_marked(item, path[1:]) for item in inner)
    if isinstance(mark, list):
        if path and path[0].isdecimal():
            at = int(path[0])
            return at < len(mark) and _marked(mark[at], path[1:])
        return any(_marked(item, path) for item in mark)
    return mark is True


def _change(resource: _Resource) -> Change:
    change = resource.change
    return Change(
        address=resource.address,
        type=resource.type,
        name=resource.name,
        mode=resource.mode,
        module=resource.module_address or "",
        provider=resource.provider_name or "",
        actions=tuple(change.actions),
        before=_values(change.before),
        after=_values(change.after),
        unknown=_values(change.after_unknown),
        imported=change.importing is not None,
    )


def _values(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
