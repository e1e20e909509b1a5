"""The nouns of costs: an organization's price file, and what tasks cost by it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sluice.base.ids import OrganizationId, TaskId
from sluice.costs.price_file import FileFormat


class EstimateStatus(StrEnum):
    """Where a task's estimate stands; `failed` says that a limit is broken."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class StoredPrices:
    """An organization's price file as it was given."""

    organization_id: OrganizationId
    content: str
    form: FileFormat
    updated_by: str
    updated_at: datetime

    @property
    def digest(self) -> str:
        """What names its text."""
        return hashlib.sha256(f"{self.form}\n{self.content}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Pricing:
    """What one resource costs a month; None where it is not there."""

    address: str
    type: str
    prior: Decimal | None
    proposed: Decimal | None


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A resource without a price, and why."""

    address: str
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan costs a month.

    Attributes:
        resources: those with the largest change first; not all, where there are many.
        priced_count: how many have a price.
        unpriced: those without a price; not all, where there are many.
        broken: which limits are broken, in words.
    """

    currency: str
    prior: Decimal
    proposed: Decimal
    resources: tuple[Pricing, ...]
    unpriced: tuple[Unpriced, ...]
    priced_count: int
    unpriced_count: int
    broken: tuple[str, ...] = ()

    @property
    def delta(self) -> Decimal:
        """What the plan adds."""
        return self.proposed - self.prior


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The estimate of one task; once for each task.

    Attributes:
        digest: names the price file that held when the task was made.
        opened_at: when the task came to the gate; None before.
        due_at: when somebody is to estimate (again); None where nobody is. Put off by
            whoever estimates, so that after a crash another does it again.
        attempts: how often it was begun; names who estimates.
        closed_at: when it was answered, or nobody waited for the answer any more.
        error: why there is no estimate.
    """

    task_id: TaskId
    digest: str
    status: EstimateStatus = EstimateStatus.PENDING
    estimate: Estimate | None = None
    error: str = ""
    opened_at: datetime | None = None
    due_at: datetime | None = None
    attempts: int = 0
    closed_at: datetime | None = None
