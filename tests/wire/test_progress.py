"""How far a script is, read off its lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.progress import (
    HIGHEST,
    PIECE_BYTES,
    STEP_CHARS,
    ProgressState,
    after_line,
    after_text,
    begun_line,
    changes,
    finished,
)

NOTHING = ProgressState()

# what lines are made of, and what may hide or break it
FRAGMENTS = [
    b"::progress value=40 step=3/7::Unpacking",
    b"::progress value=90::",
    b"[2/7] get",
    b"[3/7]",
    b"[1/3] again",
    b"Step 5/7: put",
    b"10%",
    b" 42%",
    b"99.5% of it",
    b"\r",
    b"\r\n",
    b"\n",
    b" ",
    b"\x1b[32m",
    b"\x1b[K",
    b"[#####   ]",
    b"Unpacking",
    b"\xff",
    b"y" * PIECE_BYTES,
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)


@pytest.mark.parametrize(
    ("line", "known"),
    [
        (
            b"::progress value=40 step=3/7::Unpacking",
            (40.0, "Unpacking", 3, 7),
        ),
        (b"::progress value=40::Unpacking", (40.0, "Unpacking", 0, 0)),
        (b"::progress value=12.5::", (12.5, "", 0, 0)),
        (b"::progress value=40%::x", (40.0, "x", 0, 0)),
        (b"::progress step=2/4::Fetching", (25.0, "Fetching", 2, 4)),
        (b"::progress step=2/4 level=success::Fetched", (25.0, "Fetched", 2, 4)),
        (b"::progress ::Only a name", (None, "Only a name", 0, 0)),
        (b"::progress value=abc::x", (None, "x", 0, 0)),
        (b"::progress value=140::x", (None, "x", 0, 0)),
        (b"[3/7] Unpacking", (28.57, "Unpacking", 3, 7)),
        (b"[ 3/7 ] Unpacking", (28.57, "Unpacking", 3, 7)),
        (b"[0/7] Preparing", (0.0, "Preparing", 0, 7)),
        (b"[7/7] Cleaning up", (85.71, "Cleaning up", 7, 7)),
        (b"#9 [3/7] RUN make", (28.57, "RUN make", 3, 7)),
        (b"Step 3/7: Unpacking", (28.57, "Unpacking", 3, 7)),
        (b"STEP 3/7: RUN make", (28.57, "RUN make", 3, 7)),
        (b"Step 3/7 : RUN make", (28.57, "RUN make", 3, 7)),
        (b"2025-10-11T19:30:00Z [3/7] Unpacking", (28.57, "Unpacking", 3, 7)),
        (b"[INFO] [3/7] Unpacking", (28.57, "Unpacking", 3, 7)),
        (b"\x1b[1;32m[3/7]\x1b[0m \x1b[1mUnpacking\x1b[0m", (28.57, "Unpacking", 3, 7)),
        (b"42% done", (42.0, "", 0, 0)),
        (b"[ 42%] Building C object", (42.0, "", 0, 0)),
        (b"Downloading ... 42%", (42.0, "", 0, 0)),
        (b"Downloading (42.25%)", (42.25, "", 0, 0)),
        (b"[#####     ] 42%", (42.0, "", 0, 0)),
        (b"\r 10%\r 20%\r 42%", (42.0, "", 0, 0)),
        (b"\r10%\r\x1b[32m42%\x1b[0m\x1b[K\r", (42.0, "", 0, 0)),
        (b"Downloading 42%\r", (42.0, "", 0, 0)),
        # the first that fits counts
        (b"::progress value=40::[3/7] x 50%", (40.0, "[3/7] x 50%", 0, 0)),
        (b"[3/7] Downloading 42%", (28.57, "Downloading 42%", 3, 7)),
        # only a script that ends well is at 100
        (b"100%", (HIGHEST, "", 0, 0)),
        (b"::progress value=100 step=7/7::Done", (HIGHEST, "Done", 7, 7)),
        (b"[3/7] " + b"x" * 300, (28.57, "x" * STEP_CHARS, 3, 7)),
    ],
)
def test_what_a_line_says(line: bytes, known: tuple[float | None, str, int, int]):
    after = after_line(NOTHING, line)
    assert (
        after.progress,
        after.step,
        after.current_step,
        after.total_steps,
    ) == known


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Unpacking",
        b"42",
        b"42 %",
        b"140%",
        b"x42%",
        b"1.2.42%",
        b"-5%",
        b"at 42% of it we went on",
        b"42%%",
        b"[7/3] too far",
        b"[3/0] of none",
        b"[a/7] x",
        b"see [3/7] there",
        b"Step 3/7 without a colon",
        b"Steps 3/7: x",
        b"a::progress value=40::x",
        b"::progress value=40",
        b"::progressive value=40::x",
        b"y" * PIECE_BYTES + b" 42%",
        b"2025/10/11 12:00:00 started",
    ],
)
def test_other_lines_leave_what_was_known(line: bytes):
    state = ProgressState(progress=7.5, step="Fetching", current_step=1, total_steps=9)
    assert after_line(state, line) is state


def test_progress_never_goes_back_within_a_step_count():
    state = after_text(NOTHING, b"[3/4] three\n[2/4] two")
    assert state == ProgressState(
        progress=50, step="two", current_step=2, total_steps=4
    )
    state = after_line(state, b"10%")
    assert state.progress == 50
    # another count is another piece of work
    state = after_line(state, b"[1/10] one of ten")
    assert (state.progress, state.total_steps) == (0, 10)


def test_a_step_goes_on_from_what_was_known():
    state = after_text(NOTHING, b"::progress value=60 step=2/4::x\n[3/4] y")
    assert (state.progress, state.step, state.current_step) == (60, "y", 3)
    assert after_line(state, b"::progress value=70::").step == "y"
    assert after_line(state, b"[3/4]").step == "y"
    assert after_line(state, b"[4/4]").step == ""


@given(texts)
def test_progress_only_rises_while_the_steps_are_as_many(text: bytes):
    state = NOTHING
    for line in text.split(b"\n"):
        after = after_line(state, line)
        assert after.progress is None or 0 <= after.progress <= HIGHEST
        if state.progress is not None and after.total_steps == state.total_steps:
            assert after.progress is not None
            assert after.progress >= state.progress
        state = after


@given(texts)
def test_text_says_what_its_lines_say(text: bytes):
    state = NOTHING
    begin = 0
    expected = []
    for line in text.split(b"\n"):
        after = after_line(state, line)
        if after != state:
            state = after
            expected.append((begin, state))
        begin += len(line) + 1
    assert list(changes(NOTHING, text)) == expected
    assert after_text(NOTHING, text) == state


@given(texts, texts)
def test_what_is_kept_of_a_begun_line_is_enough(first: bytes, rest: bytes):
    first, rest = first.replace(b"\n", b""), rest.replace(b"\n", b"")
    whole = after_line(NOTHING, first + rest)
    kept = begun_line(b"", first)
    assert len(kept) <= PIECE_BYTES + 2
    assert after_line(NOTHING, kept + rest) == whole
    assert after_line(NOTHING, begun_line(kept, rest)) == whole


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b"[ " * 500_000,
        b"Step " * 200_000,
        b"1%" * 500_000,
        b"::progress" * 100_000,
        b"::progress " + b" a=b" * 250_000,
        b"\r" * 1_000_000,
        b"\x1b[" * 500_000,
        b"1%\n" * 100_000,
    ],
)
def test_hostile_lines_take_no_longer_than_others(text: bytes):
    # a pattern that tried again and again would not come back within the hour
    after_text(NOTHING, text)
    begun_line(text, text)


def test_a_script_that_ended_well_is_at_100():
    state = ProgressState(progress=28.57, step="x", current_step=3, total_steps=7)
    assert finished(state) == ProgressState(
        progress=100, step="x", current_step=3, total_steps=7
    )
