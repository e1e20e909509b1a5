"""Registered scripts, their parameters, and what is said of their runs (spec/2)."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from pydantic import ConfigDict, Field, StringConstraints
from typing_extensions import override

from sluice.wire.labels import Labels
from sluice.wire.script_stream import InstallMessage
from sluice.wire.shapes.base import Input, Resource

MAX_PARAMETERS = 64
MAX_VALUE = 16 * 1024
"""So many values of this length still fit into one environment."""

Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=90,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$",
    ),
]
Argument = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Scalar = Annotated[
    bool | int | float | Annotated[str, StringConstraints(max_length=MAX_VALUE)],
    Field(union_mode="smart"),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=30 * 24 * 3600, allow_inf_nan=False)]


class ParameterType(StrEnum):
    """What values a parameter takes."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ENUM = "enum"


class Parameter(Input):
    """A parameter that a script declares; its value reaches the script as a variable of
    its environment.

    Attributes:
        name: the variable's name; callers may write it in any case.
        type: what values it takes.
        required: whether every call has to give it.
        default: the value where a call gives none; never shown of a sensitive one.
        pattern: a regular expression that the whole of a text must match.
        choices: the values of an `enum`.
        min: the lowest number.
        max: the highest number.
        sensitive: whether its value is kept sealed, and masked in the output.
        description: what it is for.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    type: ParameterType = ParameterType.STRING
    required: bool = False
    default: Scalar | None = Field(default=None, repr=False)
    pattern: str | None = Field(default=None, max_length=500)
    choices: list[Annotated[str, StringConstraints(max_length=500)]] = Field(
        default=[], max_length=100
    )
    min: Finite | None = None
    max: Finite | None = None
    sensitive: bool = False
    description: str = Field(default="", max_length=500)


class ParameterInfo(Resource):
    """A declared parameter as it is shown; a sensitive one only says that it has a default."""

    name: str
    type: ParameterType
    required: bool
    default: Scalar | None
    has_default: bool
    pattern: str | None
    choices: list[str]
    min: float | None
    max: float | None
    sensitive: bool
    description: str


class ScriptInput(Input):
    """A new script: either ``body``, or ``path``, a file on the agent.

    Without ``interpreter`` the file itself is run. It runs on an agent of ``pool_id``, or
    of any pool that has all ``labels``.
    """

    key: Key
    name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=2000)
    interpreter: list[Argument] = Field(default=[], max_length=20)
    body: str = Field(default="", max_length=1024 * 1024)
    path: str = Field(default="", max_length=4096)
    parameters: list[Parameter] = Field(default=[], max_length=MAX_PARAMETERS)
    timeout_seconds: Seconds | None = None
    pool_id: str | None = None
    labels: Labels = Field(default={})


class ScriptPatch(Input):
    """Changes to a script; what is absent stays.

    ``body`` and ``path`` replace each other. ``parameters`` replaces all of them; a
    sensitive one that is named without a default keeps the one it had.
    """

    key: Key | None = None
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    interpreter: list[Argument] | None = Field(default=None, max_length=20)
    body: str | None = Field(default=None, max_length=1024 * 1024)
    path: str | None = Field(default=None, max_length=4096)
    parameters: list[Parameter] | None = Field(default=None, max_length=MAX_PARAMETERS)
    timeout_seconds: Seconds | None = None
    pool_id: str | None = None
    labels: Labels | None = None


class Script(Resource):
    """A registered script. ``last_task_id`` is its newest run."""

    id: str
    organization_id: str
    key: str
    name: str
    description: str
    interpreter: list[str]
    body: str
    path: str
    parameters: list[ParameterInfo]
    timeout_seconds: float | None
    pool_id: str | None
    labels: dict[str, str]
    last_task_id: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class InstallInput(Input):
    """Starts the script that is registered under ``key``.

    Every further field is a parameter that the script declares; ``version`` reaches the
    script as ``VERSION``. ``organization`` (id or name) is needed where there are several.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    key: Key
    version: str = Field(default="", max_length=200)
    organization: str | None = Field(default=None, max_length=200)

    @override
    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Without the parameters: they may be secret."""
        known = type(self).model_fields
        return [shown for shown in super().__repr_args__() if shown[0] in known]

    @property
    def parameters(self) -> dict[str, object]:
        """What is given beside the fields above, and the version as a parameter."""
        given = dict(self.model_extra or {})
        if self.version:
            given["version"] = self.version
        return given


class Started(Resource):
    """The task that runs the script."""

    task_id: str


class ScriptStatus(Resource):
    """How far a script's task is.

    ``status`` is the task's; ``progress`` is 0 to 100, and 100 only for a success. It and
    ``total_steps`` are 0 as long as the script has said nothing of them. ``exit_code`` is
    None as long as the script runs, and where it never ran.
    """

    status: str
    progress: int | float
    step: str
    current_step: int
    total_steps: int
    started_at: datetime | None
    completed_at: datetime | None
    exit_code: int | None


class ScriptHistory(msgspec.Struct, frozen=True):
    """Lines of a script: those after the first ``offset``.

    ``next_offset`` is where to go on; ``total`` is how many lines there are now.
    """

    messages: list[InstallMessage]
    offset: int
    next_offset: int
    total: int
