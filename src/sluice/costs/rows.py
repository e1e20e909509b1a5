"""Estimates as rows: amounts are texts, because floats would lose cents."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sluice.costs.model import (
    CostEstimate,
    Estimate,
    EstimateStatus,
    Pricing,
    Unpriced,
)


def estimate_values(estimate: CostEstimate) -> dict[str, Any]:
    """The columns of an estimate, but for its task."""
    found = estimate.estimate
    return {
        "digest": estimate.digest,
        "status": estimate.status.value,
        "estimate": None if found is None else _document(found),
        "error": estimate.error,
        "opened_at": estimate.opened_at,
        "due_at": estimate.due_at,
        "attempts": estimate.attempts,
        "closed_at": estimate.closed_at,
    }


def estimate_of(row: Mapping[str, Any]) -> CostEstimate:
    """The estimate that a row holds."""
    document = row["estimate"]
    return CostEstimate(
        task_id=row["task_id"],
        digest=row["digest"],
        status=EstimateStatus(row["status"]),
        estimate=None if document is None else _estimate(document),
        error=row["error"],
        opened_at=row["opened_at"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        closed_at=row["closed_at"],
    )


def _document(found: Estimate) -> dict[str, Any]:
    return {
        "currency": found.currency,
        "prior": str(found.prior),
        "proposed": str(found.proposed),
        "resources": [
            [item.address, item.type, _text(item.prior), _text(item.proposed)]
            for item in found.resources
        ],
        "unpriced": [[item.address, item.type, item.reason] for item in found.unpriced],
        "priced_count": found.priced_count,
        "unpriced_count": found.unpriced_count,
        "broken": list(found.broken),
    }


def _estimate(document: Mapping[str, Any]) -> Estimate:
    return Estimate(
        currency=document["currency"],
        prior=Decimal(document["prior"]),
        proposed=Decimal(document["proposed"]),
        resources=tuple(
            Pricing(address, kind, _amount(prior), _amount(proposed))
            for address, kind, prior, proposed in document["resources"]
        ),
        unpriced=tuple(Unpriced(*item) for item in document["unpriced"]),
        priced_count=document["priced_count"],
        unpriced_count=document["unpriced_count"],
        broken=tuple(document["broken"]),
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
