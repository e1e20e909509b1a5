"""Callbacks as they are written, within HCP Terraform's limits."""

import json
from typing import Any

from sluice.receiver.callback_body import progress_body, review_body
from sluice.receiver.model import Outcome, Review, Severity, Status


def attributes(review: Review) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A review's own attributes, and those of its outcomes."""
    data = json.loads(review_body(review))["data"]
    assert data["type"] == "task-results"
    listed = data.get("relationships", {}).get("outcomes", {}).get("data", [])
    assert {one["type"] for one in listed} <= {"task-result-outcomes"}
    return data["attributes"], [one["attributes"] for one in listed]


def test_progress() -> None:
    data = json.loads(progress_body("Läuft ✓"))["data"]
    assert data == {
        "type": "task-results",
        "attributes": {"status": "running", "message": "Läuft ✓"},
    }


def test_the_gravest_stand_first_and_the_rest_is_counted() -> None:
    outcomes = [
        Outcome(outcome_id=f"o{at}", description="d", severity=Severity.LOW)
        for at in range(300)
    ]
    outcomes.append(Outcome(outcome_id="w", description="w", status=Status.WARNING))
    outcomes.append(
        Outcome(outcome_id="worst", description="d", severity=Severity.CRITICAL)
    )
    _, shown = attributes(Review(passed=False, message="m", outcomes=outcomes))
    assert len(shown) == 250
    assert shown[0]["outcome-id"] == "worst"
    assert shown[1]["outcome-id"] == "o0"
    assert shown[-1]["description"] == "53 more findings not shown."
    assert "w" not in {one["outcome-id"] for one in shown}


def test_long_and_odd_texts_fit() -> None:
    outcome = Outcome(
        outcome_id="x" * 100,
        description="d" * 1000,
        body="b" * 20_000,
        url="https://example.com/" + "u" * 600,
        severity=Severity.UNRATED,
    )
    own, (shown,) = attributes(
        Review(passed=False, message="m\ud800" + "m" * 2000, outcomes=[outcome])
    )
    assert own["message"].startswith("m?m")
    assert len(own["message"]) == 1000
    assert len(shown["outcome-id"]) == 64
    assert len(shown["description"]) == 500
    assert len(shown["body"]) == 10_000
    assert "url" not in shown
    assert shown["tags"]["Severity"] == [{"label": "Unrated", "level": "none"}]


def test_a_message_is_never_empty() -> None:
    own, shown = attributes(Review(passed=True, message=""))
    assert own == {"status": "passed", "message": "passed"}
    assert shown == []
