"""Nothing but colours gets from a task's output to a terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cli.ansi import Colours, coloured, last_state, plain, words
from sluice.cli.console import Console
from sluice.cli.settings import CliSettings

RED, BOLD, OFF = "\x1b[31m", "\x1b[1m", "\x1b[0m"

DANGEROUS = [
    "\x1b]0;title\x07",
    "\x1b]52;c;Y2xpcA==\x1b\\",
    "\x1b]8;;http://evil\x1b\\",
    "\x1b[2J",
    "\x1b[1;1H",
    "\x1b[?1049h",
    "\x1b[6n",
    "\x1bP+q544e\x1b\\",
    "\x1bc",
    "\x1b(0",
    "\x9b2J",
    "\x9d0;title\x9c",
    "\x07",
    "\x08",
    "\x0b",
    "\x00",
    "\x7f",
    "\u202e",
]


@pytest.mark.parametrize("sequence", DANGEROUS)
def test_other_sequences_are_dropped_whole(sequence: str) -> None:
    line = f"before{sequence}after"
    assert plain(line) == "beforeafter"
    assert coloured(line) == "beforeafter"


def test_a_sequence_that_does_not_end_takes_no_later_colour_with_it() -> None:
    assert coloured(f"a\x1b]0;title{RED}b") == f"a{RED}b{OFF}"
    assert plain("a\x1b[") == "a"
    assert plain("a\x1b") == "a"


def test_colours_stay_where_they_are_wanted() -> None:
    line = f"{BOLD}Plan:{OFF} 1 to add\ttab"
    assert coloured(line) == line
    assert plain(line) == "Plan: 1 to add\ttab"
    assert coloured("\x1b[38;2;1;2;3mx\x1b[m") == "\x1b[38;2;1;2;3mx\x1b[m"


def test_a_colour_goes_on_in_the_next_line_and_not_between() -> None:
    colours = Colours()
    assert colours.line(f"{OFF}{BOLD}\x1b[32m") == f"{OFF}{BOLD}\x1b[32m{OFF}"
    assert colours.line("Apply complete!") == f"{BOLD}\x1b[32mApply complete!{OFF}"
    assert colours.line(f"{OFF}plain again") == f"{BOLD}\x1b[32m{OFF}plain again"
    assert colours.line("plain") == "plain"


def test_colours_that_never_end_do_not_pile_up() -> None:
    colours = Colours()
    shown = [colours.line(f"{RED}x") for _ in range(1000)]
    assert len(shown[-1]) < 100


def test_a_progress_bar_shows_its_last_state() -> None:
    assert plain("10%\r50%\r100%") == "100%"
    assert last_state("50%\r100%\r") == "100%"
    assert coloured(f"a\r{RED}b\r") == f"{RED}b{OFF}"
    assert plain("ends with CR\r") == "ends with CR"


SIGNS = st.text(
    st.one_of(
        st.sampled_from("\x1b[]0;m\x07\\P(\r\t\x9b\x9c31H?"),
        st.characters(codec="utf-8"),
    ),
    max_size=60,
)
SGR = re.compile(r"\x1b\[[0-9;:]*m")


@given(SIGNS)
def test_no_control_character_survives(line: str) -> None:
    for shown in (plain(line), SGR.sub("", coloured(line))):
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", shown)
    assert "\x1b" not in plain(line)


@given(st.lists(SIGNS, max_size=5))
def test_every_line_ends_with_colours_off(lines: list[str]) -> None:
    colours = Colours()
    for line in lines:
        found = SGR.findall(colours.line(line))
        if found:
            last = found[-1][2:-1]
            assert last.strip("0;") == "" or last == "0"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\x0b", "\x85", "\u2028"])
def test_what_a_service_wrote_hides_nothing_before_it(end: str) -> None:
    text = f"failed: scan (mandatory) failed: {end}success"
    shown = "failed: scan (mandatory) failed:  success"
    assert words(text) == shown
    out, err = io.StringIO(), io.StringIO()
    console = Console(out, err, settings=CliSettings())
    console.facts([("Status", text)])
    console.table(["STATUS", "NAME"], [[text, "x"]])
    console.bad(text)
    assert out.getvalue().count(shown) == 2
    assert len(out.getvalue().splitlines()) == 3
    assert "failed: scan (mandatory) failed:" in err.getvalue()
