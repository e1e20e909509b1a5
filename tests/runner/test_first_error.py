"""The first error line, out of terraform's frames and colours."""

import pytest

from sluice.runner.first_error import FirstError

FRAMED = (
    "\x1b[31m╷\x1b[0m\x1b[0m\n"
    "\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[33mWarning: \x1b[0m\x1b[0m\x1b[1mOld\x1b[0m\n"
    "\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[31mError: \x1b[0m\x1b[0m"
    "\x1b[1mInvalid reference\x1b[0m\n"
    "\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[31mError: \x1b[0mSecond\x1b[0m\n"
).encode()


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_first_error_is_found_however_it_is_cut(size: int) -> None:
    errors = FirstError()
    for at in range(0, len(FRAMED), size):
        errors.feed(FRAMED[at : at + size])
    assert errors.finish() == "Invalid reference"


def test_an_error_without_a_newline_is_found_at_the_end() -> None:
    errors = FirstError()
    errors.feed(b"\nError: Unsupported \xff block")
    assert errors.finish() == "Unsupported \N{REPLACEMENT CHARACTER} block"


def test_words_about_errors_are_no_error() -> None:
    errors = FirstError()
    errors.feed(b"no Error: here\nerrors everywhere\n")
    assert errors.finish() == ""


def test_endless_lines_take_no_endless_memory() -> None:
    errors = FirstError()
    for _ in range(100):
        errors.feed(b"x" * 100_000)
    assert len(errors._line) <= 16 * 1024


def test_the_error_behind_the_preamble_of_init_is_the_one() -> None:
    error = FirstError()
    error.feed(
        b"Error: Terraform encountered problems during initialisation, including\n"
        b"problems with the configuration, described below.\n\n"
        b"Error: Invalid expression\n\n  on main.tf line 2\n"
    )
    assert error.finish() == "Invalid expression"
