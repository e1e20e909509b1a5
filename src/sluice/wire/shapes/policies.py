"""Policies over plans, and what they say of tasks."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from sluice.wire.run_task import EnforcementLevel
from sluice.wire.shapes.base import Input, Name, Resource

MAX_SOURCE = 256 * 1024


class PolicyInput(Input):
    """A policy as it is to be.

    Attributes:
        source: its text in Rego: a package with rules `deny` and `warn`.
        level: what a failure does: `advisory` shows it, `mandatory` stops the task.
        enabled: whether new tasks have to pass it.
    """

    name: Name
    description: str = Field(default="", max_length=1000)
    source: str = Field(min_length=1, max_length=MAX_SOURCE)
    level: EnforcementLevel = EnforcementLevel.ADVISORY
    enabled: bool = True


class PolicyInfo(Resource):
    """A policy as lists show it: without its text."""

    id: str
    organization_id: str
    workspace_id: str | None
    name: str
    description: str
    level: EnforcementLevel
    enabled: bool
    created_by: str
    created_at: datetime
    updated_at: datetime


class Policy(PolicyInfo):
    """A policy; ``workspace_id`` is null where it holds in all of the organization."""

    source: str


class PolicyCheckInput(Input):
    """What a policy is to be tried on: a plan as JSON, or the stored plan of a task.

    Attributes:
        plan: as `terraform show -json PLAN` writes it.
        task_id: a task whose plan is stored.
        source: a text to try instead of the policy's own.
    """

    plan: dict[str, Any] | None = None
    task_id: str | None = None
    source: str | None = Field(default=None, min_length=1, max_length=MAX_SOURCE)


class PolicyMessage(Resource):
    """One message of a policy; what the policy does not say is empty."""

    kind: Literal["deny", "warn"]
    message: str
    address: str
    severity: str
    url: str


class PolicyCheck(Resource):
    """What a policy says of a plan.

    Attributes:
        left_out: how many more messages there were than are shown.
        error: why it could not be judged.
    """

    status: Literal["passed", "failed", "error"]
    messages: list[PolicyMessage]
    left_out: int
    error: str


class PolicyResult(Resource):
    """What one policy says of one task; name and level are those it had then."""

    policy_id: str
    name: str
    level: EnforcementLevel
    status: Literal["pending", "passed", "failed", "error", "skipped", "canceled"]
    messages: list[PolicyMessage]
    left_out: int
    error: str
    completed_at: datetime | None


class PolicyResults(Resource):
    """What policies say of a task."""

    task_id: str
    results: list[PolicyResult]
