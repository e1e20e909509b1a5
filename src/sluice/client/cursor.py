"""Decides which lines of a task's output are new: each exactly once, none skipped."""

from typing import assert_never

from sluice.wire.stream import (
    Batch,
    Completed,
    Connected,
    ErrorLine,
    Frame,
    Output,
    StageMarker,
    StreamError,
)


class GapError(Exception):
    """A frame begins behind the line that should come next."""

    def __init__(self, *, expected: int, got: int) -> None:
        super().__init__(f"expected line {expected}, got line {got}")
        self.expected = expected
        self.got = got


class LineCursor:
    """The number of the last line handed out; None until the first one sets it.

    Args:
        after: the last line the reader has already; None takes the first line that comes.
    """

    def __init__(self, after: int | None = None) -> None:
        self.last = after

    def new_in(self, frame: Frame) -> Frame | None:
        """What of ``frame`` was not handed out yet; None where there is nothing new.

        Raises:
            GapError: lines are missing before this frame; nothing was taken from it.
        """
        match frame:
            case Batch():
                return self._of_batch(frame)
            case Output() | ErrorLine() | StageMarker():
                return frame if self._of_line(frame.line_num) else None
            case Connected() | Completed() | StreamError():
                return frame
            case _:
                assert_never(frame)

    def _of_batch(self, batch: Batch) -> Batch | None:
        known = 0 if self.last is None else self.last + 1 - batch.first_line
        if known < 0:
            raise GapError(expected=batch.first_line + known, got=batch.first_line)
        if known >= len(batch.lines):
            return None
        self.last = batch.first_line + len(batch.lines) - 1
        if known == 0:
            return batch
        return Batch(
            batch.first_line + known,
            batch.first_line + len(batch.lines),
            batch.lines[known:],
        )

    def _of_line(self, number: int) -> bool:
        if self.last is not None and number > self.last + 1:
            raise GapError(expected=self.last + 1, got=number)
        if self.last is not None and number <= self.last:
            return False
        self.last = number
        return True
