"""What a job itself writes into the task's log: stage markers and notes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sluice.base.clock import Clock
from sluice.runner.masker import Masker, Secrets
from sluice.runner.spool import SpoolWriter
from sluice.wire.agent import StageReport
from sluice.wire.events import (
    Note,
    Stage,
    StageBegin,
    StageEnd,
    StageOutcome,
    marker_line,
)


class Journal:
    """Writes a job's own lines, masked like all others, and keeps the stages' times.

    Attributes:
        reports: the stages so far, for the phase's result.
    """

    def __init__(
        self, spool: SpoolWriter, *, clock: Clock, secrets: Secrets, phase: str
    ) -> None:
        self.reports: list[StageReport] = []
        self._spool = spool
        self._clock = clock
        self._secrets = secrets
        self._phase = phase

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """A stage of the phase: its END marker is written however it ends."""
        began = self._clock.now()
        self.reports.append(StageReport(stage=stage, started_at=began))
        self._spool.event(
            StageBegin(stage, self._phase), marker_line(stage, "BEGIN", began)
        )
        outcome = StageOutcome.FAILED
        try:
            yield
            outcome = StageOutcome.COMPLETED
        finally:
            ended = self._clock.now()
            self.reports[-1] = StageReport(
                stage=stage, outcome=outcome, started_at=began, completed_at=ended
            )
            self._spool.event(
                StageEnd(stage, self._phase, outcome), marker_line(stage, "END", ended)
            )

    def note(self, text: str) -> None:
        """Tell the reader something."""
        self._write(text, Note())

    def problem(self, text: str) -> None:
        """Tell the reader of something that went wrong."""
        self._write(text, Note(error=True))

    def _write(self, text: str, event: Note) -> None:
        line = " ".join(self.masked(text).split())
        self._spool.event(event, line.encode("utf-8", "replace") + b"\n")

    def masked(self, text: str) -> str:
        """The same text without secrets."""
        masker = Masker(self._secrets)
        shown = masker.feed(text.encode("utf-8", "replace")) + masker.finish()
        return shown.decode("utf-8", "replace")
