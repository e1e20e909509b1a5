"""Registered scripts as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sluice.base.ids import OrganizationId, PoolId, ScriptId, TaskId
from sluice.wire.shapes.scripts import Parameter


@dataclass(frozen=True, slots=True)
class Script:
    """A script that an administrator registered; people start it by its key.

    Attributes:
        id: the script.
        organization_id: whose it is.
        key: its name for callers, unique in the organization.
        name: what people call it.
        body: its text; empty where ``path`` names a file on the agent.
        path: absolute path of a file on the agent.
        interpreter: what the file is given to; empty where it is run itself.
        parameters: what it declares; defaults of sensitive ones stand in
            ``sealed_defaults``.
        sealed_defaults: those defaults by name, each sealed, in base64.
        timeout_seconds: how long it may run.
        pool_id: whose agents run it; None for any pool that has all ``labels``.
        last_task_id: its newest run.
    """

    id: ScriptId
    organization_id: OrganizationId
    key: str
    name: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    interpreter: tuple[str, ...] = ()
    body: str = ""
    path: str = ""
    parameters: tuple[Parameter, ...] = ()
    sealed_defaults: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    pool_id: PoolId | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    last_task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class OldLog:
    """The archived log of a script's task whose time is over.

    Attributes:
        task_id: whose log it is.
        size: its bytes.
        object_key: where it lies.
    """

    task_id: TaskId
    size: int
    object_key: str
