"""Workspaces, their locks and variables."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from sluice.wire.agent import Engine
from sluice.wire.labels import Labels
from sluice.wire.secret import Secret
from sluice.wire.shapes.base import Input, Name, Resource


class ExecutionMode(StrEnum):
    """Whether a workspace's tasks may apply."""

    PLAN_ONLY = "plan_only"
    PLAN_AND_APPLY = "plan_and_apply"


class WorkspaceInput(Input):
    """A new workspace. ``terraform_version`` is a version, a constraint, or `latest`.

    ``labels`` are those a pool must have to serve it, where ``pool_id`` names none.
    """

    name: Name
    execution_mode: ExecutionMode = ExecutionMode.PLAN_AND_APPLY
    auto_apply: bool = False
    working_directory: str = Field(default="", max_length=500)
    terraform_version: str = Field(default="latest", max_length=100)
    engine: Engine = Engine.TERRAFORM
    pool_id: str | None = None
    labels: Labels = Field(default={})


class WorkspacePatch(Input):
    """Changes to a workspace; what is absent stays."""

    name: Name | None = None
    execution_mode: ExecutionMode | None = None
    auto_apply: bool | None = None
    working_directory: str | None = Field(default=None, max_length=500)
    terraform_version: str | None = Field(default=None, max_length=100)
    engine: Engine | None = None
    pool_id: str | None = None
    labels: Labels | None = None


class LockHolderKind(StrEnum):
    """Who can hold a workspace's lock."""

    USER = "user"
    TASK = "task"
    TERRAFORM = "terraform"


class Lock(Resource):
    """Who holds a workspace's lock, since when and why."""

    id: str
    holder: str
    kind: LockHolderKind
    reason: str
    locked_at: datetime


class Workspace(Resource):
    """Configuration, variables, state and lock."""

    id: str
    organization_id: str
    name: str
    execution_mode: ExecutionMode
    auto_apply: bool
    working_directory: str
    terraform_version: str
    engine: Engine
    pool_id: str | None
    labels: dict[str, str] = Field(default={})
    lock: Lock | None
    state_diverged: str | None
    created_at: datetime


class WorkspaceList(Resource):
    """A page of workspaces, by name."""

    workspaces: list[Workspace]
    total: int
    limit: int
    offset: int


class VariableCategory(StrEnum):
    """Where a variable's value goes."""

    TERRAFORM = "terraform"
    ENV = "env"


class VariableInput(Input):
    """A new variable."""

    key: str = Field(min_length=1, max_length=250, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")
    value: Secret = Field(default="", max_length=256 * 1024, repr=False)
    category: VariableCategory = VariableCategory.TERRAFORM
    hcl: bool = False
    sensitive: bool = False
    description: str = Field(default="", max_length=500)


class VariablePatch(Input):
    """Changes to a variable; a sensitive one can be replaced, never made readable."""

    value: Secret | None = Field(default=None, max_length=256 * 1024, repr=False)
    hcl: bool | None = None
    sensitive: bool | None = None
    description: str | None = Field(default=None, max_length=500)


class Variable(Resource):
    """A variable; ``value`` is None where it is sensitive."""

    id: str
    workspace_id: str
    key: str
    value: str | None
    category: VariableCategory
    hcl: bool
    sensitive: bool
    description: str
    updated_at: datetime
