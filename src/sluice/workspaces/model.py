"""Workspaces, their locks and their variables as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sluice.base.ids import OrganizationId, PoolId, VariableId, WorkspaceId
from sluice.terraform.lock_info import LockInfo
from sluice.wire.agent import Engine
from sluice.wire.shapes.workspaces import (
    ExecutionMode,
    LockHolderKind,
    VariableCategory,
)


@dataclass(frozen=True, slots=True)
class Lock:
    """Who holds a workspace's lock, since when and why.

    ``id`` is the handle to release it with: a task's id, terraform's lock ID, or random.
    ``info`` is terraform's own lock document where terraform holds it.
    """

    id: str
    holder: str
    kind: LockHolderKind
    reason: str
    locked_at: datetime
    info: LockInfo | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """Configuration, variables, state and lock of one root module.

    ``labels`` are those a pool must have to serve it, where it names no pool.
    ``state_diverged`` says in words why the stored state is known to be behind.
    """

    id: WorkspaceId
    organization_id: OrganizationId
    name: str
    execution_mode: ExecutionMode
    auto_apply: bool
    working_directory: str
    terraform_version: str
    engine: Engine
    pool_id: PoolId | None
    created_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    state_diverged: str | None = None
    lock: Lock | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: ``value`` where it is plain, ``sealed`` where it is sensitive."""

    id: VariableId
    workspace_id: WorkspaceId
    key: str
    category: VariableCategory
    hcl: bool
    sensitive: bool
    value: str | None
    sealed: bytes | None
    description: str
    updated_at: datetime
