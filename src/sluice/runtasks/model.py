"""The nouns of run tasks: definitions, attachments, stages, results and outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.base.ids import (
    OrganizationId,
    RunTaskId,
    RunTaskOutcomeId,
    RunTaskResultId,
    RunTaskStageId,
    TaskId,
    WorkspaceId,
    WorkspaceRunTaskId,
)
from sluice.wire.run_task import FINAL, EnforcementLevel, ResultStatus, RunTaskStage


@dataclass(frozen=True, slots=True)
class RunTask:
    """A service that may be asked at gates.

    Attributes:
        sealed_key: the key that signs calls, sealed; None where calls are not signed.
        signature_prefix: whether the signature is sent as `sha512=<hex>`.
        timeout_seconds: how long a result waits since it was heard of.
        is_global: whether it is asked in every workspace, at ``global_stages``.
        callback_allowed_cidrs: where callbacks may come from; empty for anywhere.
    """

    id: RunTaskId
    organization_id: OrganizationId
    name: str
    endpoint_url: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    sealed_key: bytes | None = None
    signature_prefix: bool = False
    enabled: bool = True
    timeout_seconds: int = 600
    is_global: bool = False
    global_stages: tuple[RunTaskStage, ...] = ()
    global_level: EnforcementLevel = EnforcementLevel.ADVISORY
    callback_allowed_cidrs: tuple[str, ...] = ()
    team_id: str | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceRunTask:
    """A run task's attachment to a workspace, at one stage."""

    id: WorkspaceRunTaskId
    workspace_id: WorkspaceId
    run_task_id: RunTaskId
    stage: RunTaskStage
    enforcement_level: EnforcementLevel
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """A run task that is to be asked at a stage of a workspace's tasks.

    ``enabled`` is False where the run task, or its attachment, is switched off.
    """

    run_task: RunTask
    stage: RunTaskStage
    level: EnforcementLevel
    enabled: bool


@dataclass(frozen=True, slots=True)
class StageOfTask:
    """A task's stage at which run tasks are asked; once for each (task, stage).

    ``answered_at`` is when the task was told; ``passed`` what it was told.
    """

    id: RunTaskStageId
    task_id: TaskId
    stage: RunTaskStage
    opened_at: datetime | None = None
    answered_at: datetime | None = None
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Who let a failed mandatory result pass, when, and why."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What one run task says of one task at one stage; once for each (stage, run task).

    Attributes:
        name: the run task's name when the task was made; it may be renamed or deleted.
        token_hash: SHA-256 of the access token; None until the first call.
        issued_at: when the token was issued, which with the ids determines it.
        attempts: calls that were begun.
        next_call_at: when the service is to be called (again); None where it is not.
        call_lease_until: until then somebody is calling; later another may.
        timeout_at: when it is a `timeout` unless it is heard of; None until the first call.
        last_timeout_at: when it is a `timeout` whatever is heard.
        http_status: status of the service's last answer, None where none came.
        request: the payload that was sent, without the access token.
        response: the attributes of the last callback.
    """

    id: RunTaskResultId
    stage_id: RunTaskStageId
    task_id: TaskId
    organization_id: OrganizationId
    workspace_id: WorkspaceId
    run_task_id: RunTaskId
    name: str
    stage: RunTaskStage
    level: EnforcementLevel
    created_at: datetime
    status: ResultStatus = ResultStatus.PENDING
    message: str = ""
    url: str = ""
    token_hash: str | None = None
    issued_at: datetime | None = None
    attempts: int = 0
    next_call_at: datetime | None = None
    call_lease_until: datetime | None = None
    timeout_seconds: int = 600
    timeout_at: datetime | None = None
    last_timeout_at: datetime | None = None
    http_status: int | None = None
    request: Mapping[str, Any] | None = None
    response: Mapping[str, Any] | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    override: Override | None = None

    @property
    def final(self) -> bool:
        """Whether it does not change any more."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class Finding:
    """One outcome as a service sends it, with its Markdown ``body``."""

    outcome_id: str
    description: str
    url: str
    tags: Mapping[str, Sequence[Mapping[str, str]]]
    body: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finding of a result, without its Markdown body.

    ``outcome_id`` is the service's own name for it; ``tags`` are
    ``{name: [{"label": …, "level": …}]}``; ``body_bytes`` is the body's length.
    """

    id: RunTaskOutcomeId
    result_id: RunTaskResultId
    position: int
    outcome_id: str
    description: str
    url: str
    tags: Mapping[str, Sequence[Mapping[str, str]]]
    body_bytes: int
