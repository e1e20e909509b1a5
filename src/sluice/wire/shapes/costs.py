"""Price files, and what tasks cost a month by them."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from sluice.wire.run_task import EnforcementLevel
from sluice.wire.shapes.base import Input, Resource

MAX_PRICE_FILE = 1024 * 1024


class PriceFileInput(Input):
    """A price file as it is to be.

    Attributes:
        content: its text.
        format: how it is written.
    """

    content: str = Field(min_length=1, max_length=MAX_PRICE_FILE)
    format: Literal["toml", "json"] = "toml"


class PriceFile(Resource):
    """An organization's price file, and what is in it."""

    organization_id: str
    format: Literal["toml", "json"]
    content: str
    currency: str
    price_count: int
    level: EnforcementLevel
    max_monthly_increase: str | None
    max_monthly_total: str | None
    updated_by: str
    updated_at: datetime


class ResourceCost(Resource):
    """What one resource costs a month; null where it is not there."""

    address: str
    type: str
    prior: str | None
    proposed: str | None


class UnpricedResource(Resource):
    """A resource without a price, and why."""

    address: str
    type: str
    reason: str


class CostEstimate(Resource):
    """What a task's plan costs a month; amounts are decimal numbers as text.

    Attributes:
        status: `failed` says that a limit is broken, `error` that there is no estimate.
        prior: what all priced resources cost now; null without an estimate.
        proposed: what they cost after an apply.
        delta: what the plan adds.
        broken: which limits are broken, in words.
        resources: those with the largest change first, at most a thousand.
        unpriced: those without a price, at most a thousand.
    """

    task_id: str
    status: Literal["pending", "passed", "failed", "error", "skipped", "canceled"]
    currency: str | None
    prior: str | None
    proposed: str | None
    delta: str | None
    broken: list[str]
    resources: list[ResourceCost]
    priced_count: int
    unpriced: list[UnpricedResource]
    unpriced_count: int
    error: str
    completed_at: datetime | None
