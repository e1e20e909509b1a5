"""How a phase comes to an early end: failed or cancelled, with one sentence for people."""

from sluice.wire.agent import PhaseOutcome


class PhaseError(Exception):
    """The phase cannot go on.

    Args:
        sentence: what went wrong, to what, and what to do; masked already.
        outcome: failed or canceled.
        exit_code: that of the program, where one failed.
    """

    def __init__(
        self,
        sentence: str,
        *,
        outcome: PhaseOutcome = PhaseOutcome.FAILED,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.outcome = outcome
        self.exit_code = exit_code


def canceled(reason: str, *, exit_code: int | None = None) -> PhaseError:
    """The phase was asked to stop and did."""
    why = f" {reason.rstrip('.')}" if reason else ""
    return PhaseError(
        f"The phase was canceled{why}.",
        outcome=PhaseOutcome.CANCELED,
        exit_code=exit_code,
    )
