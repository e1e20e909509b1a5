"""Interrupt, then terminate, then kill; a forced cancel kills at once."""

import signal

import pytest

from sluice.runner.cancel_ladder import Ladder, explain, next_signal, signalled
from sluice.runner.phase_dir import CancelKind, CancelRequest

CANCEL = CancelRequest(CancelKind.CANCEL, "by ann")
FORCE = CancelRequest(CancelKind.FORCE_CANCEL, "by ann")
INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


@pytest.mark.parametrize(
    ("sent", "waited", "request_", "expected"),
    [
        (None, 0, CANCEL, INT),
        (INT, 299.9, CANCEL, None),
        (INT, 300, CANCEL, TERM),
        (TERM, 9.9, CANCEL, None),
        (TERM, 10, CANCEL, KILL),
        (KILL, 999, CANCEL, None),
        (None, 0, FORCE, KILL),
        (INT, 0, FORCE, KILL),
        (TERM, 0, FORCE, KILL),
        (KILL, 999, FORCE, None),
    ],
)
def test_the_table_of_signals(
    sent: signal.Signals | None,
    waited: float,
    request_: CancelRequest,
    expected: signal.Signals | None,
) -> None:
    ladder = Ladder(300.0, 10.0, sent, 50.0)
    assert next_signal(ladder, request_, 50.0 + waited) == expected


def test_each_step_is_told_in_words() -> None:
    ladder = Ladder(300.0, 10.0)
    said = [explain(signalled(ladder, sent, 1.0), CANCEL) for sent in (INT, TERM, KILL)]
    assert said == [
        "Cancel requested (by ann): interrupt sent; up to 300 s to stop at a safe point.",
        "Not stopped after 300 s: terminate sent.",
        "Not stopped 10 s after terminate: the processes were killed.",
    ]
    assert (
        explain(signalled(ladder, KILL, 1.0), FORCE)
        == "Force-cancel requested (by ann): the processes were killed."
    )
