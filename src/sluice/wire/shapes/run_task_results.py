"""What run tasks said of a task."""

from datetime import datetime
from typing import Any

from pydantic import Field

from sluice.wire.run_task import (
    EnforcementLevel,
    ResultStatus,
    RunTaskStage,
    TagLevel,
)
from sluice.wire.shapes.base import Input, Resource


class OutcomeLabel(Resource):
    """A coloured label."""

    label: str
    level: TagLevel


class OutcomeTag(Resource):
    """A tag with its labels."""

    name: str
    labels: list[OutcomeLabel]


class RunTaskOutcome(Resource):
    """One finding. Its Markdown, if ``body_bytes`` is not 0, has a route of its own.

    ``id`` is Sluice's name for it, ``outcome_id`` the service's. Of ``tags``, status and
    severity stand first.
    """

    id: str
    outcome_id: str
    description: str
    url: str
    tags: list[OutcomeTag]
    body_bytes: int


class RunTaskOverride(Resource):
    """Who let a failed result pass, and why."""

    by: str
    reason: str
    at: datetime


class RunTaskResult(Resource):
    """What one run task says of a task at one stage.

    ``request`` is what was sent, without the access token; ``response`` what the last
    callback said. ``next_call_at`` is when the service is called (again).
    """

    result_id: str
    task_id: str
    run_task_id: str
    name: str
    stage: RunTaskStage
    enforcement_level: EnforcementLevel
    status: ResultStatus
    message: str
    url: str
    attempts: int
    http_status: int | None
    timeout_seconds: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    next_call_at: datetime | None
    timeout_at: datetime | None
    last_timeout_at: datetime | None
    can_override: bool
    override: RunTaskOverride | None
    outcomes: list[RunTaskOutcome]
    request: dict[str, Any] | None
    response: dict[str, Any] | None


class RunTaskStageState(Resource):
    """A stage at which run tasks are asked; ``passed`` once it is answered."""

    stage: RunTaskStage
    opened_at: datetime | None
    answered_at: datetime | None
    passed: bool | None


class RunTaskResults(Resource):
    """All results of a task, by stage and name, and the stages in order."""

    stages: list[RunTaskStageState]
    results: list[RunTaskResult]


class OverrideInput(Input):
    """Why a failed mandatory result may pass."""

    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S")
