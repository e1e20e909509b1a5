"""Nothing that takes a secret in shows it: every model of a request body, found by itself."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, TypeAdapter

from sluice.wire import shapes
from sluice.wire.agent import OrderIdentity, OrderVariable, ScriptOrder
from sluice.wire.secret import HIDDEN, REVEAL
from sluice.wire.shapes.base import Input, Resource
from sluice.wire.shapes.scripts import InstallInput, Parameter
from sluice.wire.shapes.workspaces import VariableInput, VariablePatch

PLANTED = "hunter2-planted"
SUSPECT = re.compile(r"(^|_)(password|secret|hmac_key|token|value|endpoint_url)$")
KNOWN_OPEN = {
    # a run task's address is shown to everybody who may see the run task
    ("RunTaskInput", "endpoint_url"),
    ("RunTaskChange", "endpoint_url"),
    ("RunTaskPatch", "endpoint_url"),
}
"""Fields with such a name that hold nothing secret."""


def models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for module in pkgutil.iter_modules(shapes.__path__):
        importlib.import_module(f"{shapes.__name__}.{module.name}")
    left = [base]
    while left:
        found = left.pop()
        left += found.__subclasses__()
        if found.__module__.startswith(shapes.__name__):
            yield found


def suspects(base: type[BaseModel]) -> list[tuple[type[BaseModel], str]]:
    return [
        (model, name)
        for model in models(base)
        for name, field in model.model_fields.items()
        if SUSPECT.search(name)
        and "str" in str(field.annotation)
        and (model.__name__, name) not in KNOWN_OPEN
    ]


def test_there_are_some() -> None:
    assert {model.__name__ for model, _ in suspects(Input)} >= {
        "VariableInput",
        "VariablePatch",
        "RunVariable",
        "RunTaskInput",
        "SetupInput",
    }


@pytest.mark.parametrize(("model", "name"), suspects(Input))
def test_what_is_taken_in_is_shown_by_neither_repr_nor_json(
    model: type[BaseModel], name: str
) -> None:
    body = model.model_construct(None, **{name: PLANTED})
    assert PLANTED not in f"{body!r} {body!s}"
    field = model.model_fields[name]
    adapter: TypeAdapter[object] = TypeAdapter(
        field.rebuild_annotation(), config={"arbitrary_types_allowed": True}
    )
    assert json.loads(adapter.dump_json(PLANTED)) == HIDDEN
    assert json.loads(adapter.dump_json(PLANTED, context=REVEAL)) == PLANTED


@pytest.mark.parametrize(
    ("model", "name"),
    [(model, name) for model, name in suspects(Resource) if name.endswith("token")],
)
def test_what_is_shown_once_is_not_in_a_repr(model: type[BaseModel], name: str) -> None:
    body = model.model_construct(None, **{name: PLANTED})
    assert PLANTED not in f"{body!r} {body!s}"


def test_code_reads_a_secret_as_a_text() -> None:
    body = VariableInput(key="k", value=PLANTED)
    assert body.value == PLANTED
    assert body.model_dump()["value"] == PLANTED
    assert PLANTED not in body.model_dump_json()
    assert PLANTED in body.model_dump_json(context=REVEAL)
    assert VariablePatch().model_dump_json(exclude_unset=True) == "{}"
    empty = json.loads(VariablePatch(value=None).model_dump_json())
    assert empty["value"] is None


def test_parameters_of_scripts_are_in_no_repr() -> None:
    started = InstallInput.model_validate({"key": "nginx", "license": PLANTED})
    assert started.parameters == {"license": PLANTED}
    assert PLANTED not in repr(started)
    assert PLANTED not in repr(Parameter(name="A", default=PLANTED, sensitive=True))


def test_orders_show_none_of_their_secrets() -> None:
    variable = OrderVariable(key="k", value=PLANTED, category="env", sensitive=True)
    script = ScriptOrder(name="s", environment={"A": PLANTED})
    identity = OrderIdentity(name="token", token=PLANTED)
    assert PLANTED not in f"{variable!r} {script!r} {identity!r}"
    # they are what the agent is given, so they are whole on their way
    assert PLANTED in variable.model_dump_json()
