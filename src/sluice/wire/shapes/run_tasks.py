"""Run tasks and where they are attached (spec/3)."""

import ipaddress
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from sluice.wire.run_task import EnforcementLevel, RunTaskStage
from sluice.wire.secret import Secret
from sluice.wire.shapes.base import Input, Resource

MAX_KEY = 1000
MAX_CIDRS = 100


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is no network such as 203.0.113.0/24") from None


RunTaskName = Annotated[
    str, Field(min_length=1, max_length=90, pattern=r"^[a-zA-Z0-9_-]+$")
]
Description = Annotated[str, Field(max_length=1000)]
EndpointUrl = Annotated[str, Field(min_length=1, max_length=500)]
HmacKey = Annotated[Secret, Field(max_length=MAX_KEY)]
TimeoutSeconds = Annotated[int, Field(ge=60, le=3600)]
Network = Annotated[str, Field(max_length=100), AfterValidator(_network)]
Networks = Annotated[list[Network], Field(max_length=MAX_CIDRS)]
TeamId = Annotated[str, Field(min_length=1, max_length=90)]


class RunTaskInput(Input):
    """A new run task.

    Attributes:
        organization_id: id or name; may be left out where there is only one.
        endpoint_url: where the service is called.
        hmac_key: signs calls; it is kept sealed and never shown.
        signature_prefix: the signature is sent as `sha512=<hex>`.
        timeout_seconds: how long a result waits since it was last heard of.
        is_global: it is asked in every workspace, at `global_stages`.
        global_level: what a failure does there; after the apply it is advisory anyway.
        callback_allowed_cidrs: callbacks from elsewhere are refused; empty for anywhere.
    """

    organization_id: str | None = Field(default=None, max_length=200)
    name: RunTaskName
    description: Description = ""
    endpoint_url: EndpointUrl
    hmac_key: HmacKey | None = Field(default=None, repr=False)
    signature_prefix: bool = False
    enabled: bool = True
    timeout_seconds: TimeoutSeconds = 600
    is_global: bool = False
    global_stages: list[RunTaskStage] = Field(default=[], max_length=10)
    global_level: EnforcementLevel = EnforcementLevel.ADVISORY
    callback_allowed_cidrs: Networks = Field(default=[])
    team_id: TeamId | None = None


class RunTaskChange(Input):
    """Changes to a run task; what is absent or null stays.

    Attributes:
        hmac_key: an empty one takes the key away.
        team_id: null takes it away.
    """

    name: RunTaskName | None = None
    description: Description | None = None
    endpoint_url: EndpointUrl | None = None
    hmac_key: HmacKey | None = Field(default=None, repr=False)
    signature_prefix: bool | None = None
    enabled: bool | None = None
    timeout_seconds: TimeoutSeconds | None = None
    is_global: bool | None = None
    global_stages: list[RunTaskStage] | None = Field(default=None, max_length=10)
    global_level: EnforcementLevel | None = None
    callback_allowed_cidrs: Networks | None = None
    team_id: TeamId | None = None


class RunTask(Resource):
    """A service that is asked at gates; `hmac_key_set` says that calls are signed."""

    run_task_id: str
    organization_id: str
    name: str
    description: str
    endpoint_url: str
    hmac_key_set: bool
    signature_prefix: bool
    enabled: bool
    timeout_seconds: int
    is_global: bool
    global_stages: list[RunTaskStage]
    global_level: EnforcementLevel
    callback_allowed_cidrs: list[str]
    team_id: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class RunTaskRow(RunTask):
    """A run task in a list, with the number of workspaces in which it is attached."""

    workspace_count: int


class Pagination(Resource):
    """Which page of a list this is, and how many things the list has."""

    page: int
    page_size: int
    total: int


class RunTaskList(Resource):
    """A page of an organization's run tasks, by name."""

    run_tasks: list[RunTaskRow]
    pagination: Pagination


class RunTaskTest(Resource):
    """What a service answered to the verification call; `message` says what to make of it."""

    status_code: int
    ok: bool
    message: str


class RunTaskReference(Resource):
    """A run task as others name it."""

    run_task_id: str
    name: str
    description: str


class WorkspaceRunTaskInput(Input):
    """Attaches a run task to a workspace at a stage; after the apply it is advisory only."""

    run_task_id: str = Field(min_length=1, max_length=90)
    stage: RunTaskStage
    enforcement_level: EnforcementLevel = EnforcementLevel.ADVISORY
    enabled: bool = True


class WorkspaceRunTaskChange(Input):
    """Changes to an attachment; what is absent or null stays."""

    stage: RunTaskStage | None = None
    enforcement_level: EnforcementLevel | None = None
    enabled: bool | None = None


class WorkspaceRunTask(Resource):
    """A run task's attachment to a workspace."""

    workspace_run_task_id: str
    workspace_id: str
    run_task: RunTaskReference
    stage: RunTaskStage
    enforcement_level: EnforcementLevel
    enabled: bool
    created_at: datetime


class WorkspaceRunTaskList(Resource):
    """A page of a workspace's attachments, by the run task's name and the stage."""

    workspace_run_tasks: list[WorkspaceRunTask]
    pagination: Pagination
