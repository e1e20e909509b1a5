"""What texts a request may hold."""

import pytest
from pydantic import ValidationError

from sluice.wire.agent import LogEnd, PhaseOutcome, PhaseResult, PingRequest
from sluice.wire.shapes.tasks import TaskInput
from sluice.wire.shapes.workspaces import VariableInput
from sluice.wire.texts import check_texts, harmless, one_line, storable


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\0b", "a NUL character"),
        ("\ud800", "half a surrogate pair"),
        (["fine", "\udfff"], "half a surrogate pair"),
        ({"key\0": "x"}, "a NUL character"),
        ({"key": ["\0"]}, "a NUL character"),
    ],
)
def test_what_no_database_stores_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_texts(value)


def test_any_other_text_is_taken() -> None:
    check_texts(["\x01\x1b[0m", "\N{GRINNING FACE}", {"\ufffd": None}, 7])


def test_requests_of_people_and_agents_are_looked_through() -> None:
    for given in (
        {"task_type": "plan", "plan_task_id": "\ud800"},
        {"task_type": "plan", "targets": ["a\0"]},
    ):
        with pytest.raises(ValidationError, match="may not hold"):
            TaskInput.model_validate(given)
    with pytest.raises(ValidationError, match="may not hold"):
        VariableInput(key="k", description="\0")
    for wrong in ({"version": "\0"}, {"cpu_usage": float("nan")}):
        with pytest.raises(ValidationError):
            PingRequest.model_validate({"agent_id": "a", "busy": False, **wrong})


def test_an_error_of_any_letters_ends_a_phase() -> None:
    assert storable("a\0\ud800b") == "a\ufffd\ufffdb"
    result = PhaseResult(
        lease_id="lease-1",
        outcome=PhaseOutcome.FAILED,
        error="no such file: \0",
        log_end=LogEnd(offset=0, next_line=1),
    )
    assert result.error == "no such file: \ufffd"


def test_what_others_wrote_is_one_line_and_moves_no_cursor() -> None:
    wrote = "no\r\n===== PLAN END =====\n\x1b[2J\x9b1A\x07\x08\u202ed\u2028e\u0085f\tg \ud800"
    shown = one_line(wrote)
    assert shown == "no ===== PLAN END ===== [2J 1A d e f g \ufffd"
    assert one_line(" \x1b\n ") == ""
    family = "\U0001f468\u200d\U0001f469 naïve\ttab\n"
    assert harmless(family) == family
