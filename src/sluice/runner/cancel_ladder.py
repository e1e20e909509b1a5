"""Decides which signal a phase that is to stop gets next: interrupt, terminate, kill."""

import signal
from dataclasses import dataclass, replace

from sluice.runner.phase_dir import CancelKind, CancelRequest


@dataclass(frozen=True, slots=True)
class Ladder:
    """How far down a process group has been asked to go.

    Attributes:
        grace: seconds between interrupt and terminate. Terraform finishes the resource it
            is at and saves its state; a second signal makes it give that up.
        terminate_grace: seconds between terminate and kill.
        sent: the last signal sent; None before the first.
        sent_at: monotonic seconds of that.
    """

    grace: float
    terminate_grace: float
    sent: signal.Signals | None = None
    sent_at: float = 0.0


def next_signal(
    ladder: Ladder, request: CancelRequest, now: float
) -> signal.Signals | None:
    """What to send now, if anything; take note of it with `signalled`."""
    waited = now - ladder.sent_at
    if ladder.sent is signal.SIGKILL:
        return None
    if request.kind is CancelKind.FORCE_CANCEL:
        return signal.SIGKILL
    if ladder.sent is None:
        return signal.SIGINT
    if ladder.sent is signal.SIGINT:
        return signal.SIGTERM if waited >= ladder.grace else None
    return signal.SIGKILL if waited >= ladder.terminate_grace else None


def signalled(ladder: Ladder, sent: signal.Signals, now: float) -> Ladder:
    """The ladder after ``sent`` went out at monotonic ``now``."""
    return replace(ladder, sent=sent, sent_at=now)


def explain(ladder: Ladder, request: CancelRequest) -> str:
    """What the task's log says about the signal just sent."""
    why = f" ({request.reason})" if request.reason else ""
    asked = f"Cancel requested{why}"
    if request.kind is CancelKind.TIME_OUT:
        asked = request.reason
    match ladder.sent:
        case signal.SIGINT:
            return (
                f"{asked}: interrupt sent; up to {ladder.grace:g} s to stop"
                " at a safe point."
            )
        case signal.SIGTERM:
            return f"Not stopped after {ladder.grace:g} s: terminate sent."
        case _ if request.kind is CancelKind.FORCE_CANCEL:
            return f"Force-cancel requested{why}: the processes were killed."
        case _:
            return (
                f"Not stopped {ladder.terminate_grace:g} s after terminate: the processes"
                " were killed."
            )
