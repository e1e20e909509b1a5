"""Options that belong together, as records: a command takes the record, Typer sees the options."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

Result = TypeVar("Result")


def takes_records(function: Callable[..., Result]) -> Callable[..., Result]:
    """Spread each parameter that is a dataclass into one option a field.

    A command declares ``(name: str, options: ListOptions)`` and reads ``options.limit``, while
    its command line has ``NAME --limit``.
    """
    hints = get_type_hints(function, include_extras=True)
    records: dict[str, Any] = {
        name: kind
        for name, kind in hints.items()
        if name != "return" and is_dataclass(kind)
    }
    parameters = list(_spread(inspect.signature(function), hints, records))

    @functools.wraps(function)
    def run(**values: Any) -> Result:
        for name, kind in records.items():
            taken = {field.name: values.pop(field.name) for field in fields(kind)}
            values[name] = kind(**taken)
        return function(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    return run


def _spread(
    signature: inspect.Signature, hints: dict[str, Any], records: dict[str, Any]
) -> Iterator[inspect.Parameter]:
    for name, parameter in signature.parameters.items():
        if name not in records:
            yield parameter.replace(
                annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY
            )
            continue
        of_record = get_type_hints(records[name], include_extras=True)
        for field in fields(records[name]):
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=of_record[field.name],
            )


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty
