"""The nouns of policies: the policies themselves, and what they said of tasks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sluice.base.ids import OrganizationId, PolicyId, TaskId, WorkspaceId
from sluice.wire.run_task import EnforcementLevel


class PolicyStatus(StrEnum):
    """Where a policy's result stands."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    CANCELED = "canceled"


class FindingKind(StrEnum):
    """What a message of a policy means: the policy fails, or only says something."""

    DENY = "deny"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule over plans, of a whole organization or of one workspace.

    Attributes:
        workspace_id: whose it is; None where it holds in all of the organization.
        source: its text, in Rego.
        level: what a failure does.
    """

    id: PolicyId
    organization_id: OrganizationId
    workspace_id: WorkspaceId | None
    name: str
    source: str
    level: EnforcementLevel
    created_by: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    enabled: bool = True

    @property
    def owner(self) -> str:
        """The id of whose policy it is."""
        return self.workspace_id or self.organization_id

    @property
    def digest(self) -> str:
        """What names its text."""
        return hashlib.sha256(self.source.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Finding:
    """One message of a policy; what the policy does not say is empty."""

    kind: FindingKind
    message: str
    address: str = ""
    severity: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What one policy says of one task.

    Name, level and text are those the policy had when the task was made.

    Attributes:
        digest: names the policy's text.
        findings: what it says, the failures first.
        left_out: how many more messages there were than are kept.
        error: why it could not be judged.
    """

    task_id: TaskId
    policy_id: PolicyId
    name: str
    level: EnforcementLevel
    digest: str
    status: PolicyStatus = PolicyStatus.PENDING
    findings: tuple[Finding, ...] = ()
    left_out: int = 0
    error: str = ""
    completed_at: datetime | None = None

    @property
    def stops(self) -> bool:
        """Whether it keeps its task from going on."""
        return self.level is EnforcementLevel.MANDATORY and self.status in {
            PolicyStatus.FAILED,
            PolicyStatus.ERROR,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The question about one task; once for each task.

    Attributes:
        opened_at: when the task came to the gate; None before.
        due_at: when somebody is to evaluate (again); None where nobody is. Put off by
            whoever evaluates, so that after a crash another does it again.
        attempts: how often it was begun; names who evaluates.
        closed_at: when it was answered, or nobody waited for the answer any more.
    """

    task_id: TaskId
    opened_at: datetime | None = None
    due_at: datetime | None = None
    attempts: int = 0
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an engine makes of a policy and a plan; ``error`` where it could not judge."""

    findings: Sequence[Finding] = ()
    left_out: int = 0
    error: str = ""

    @property
    def status(self) -> PolicyStatus:
        """The status that follows."""
        if self.error:
            return PolicyStatus.ERROR
        denied = any(item.kind is FindingKind.DENY for item in self.findings)
        return PolicyStatus.FAILED if denied else PolicyStatus.PASSED


@dataclass(frozen=True, slots=True)
class SourceFault:
    """What is wrong with a policy's text, and in which line."""

    line: int
    message: str
