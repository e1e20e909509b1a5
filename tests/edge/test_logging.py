"""What others send cannot forge a line of the server's log, nor reach the terminal it is on."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog

from sluice.edge.logging import LogFormat, configure_logging
from tests.support.hostile import ALL

ACTING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging of other tests stays as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(log_format: LogFormat, text: str) -> list[str]:
    """The lines of one record that holds ``text`` wherever a record can."""
    out = io.StringIO()
    configure_logging(log_format, "info", out=out)
    structlog.get_logger("test").info(
        text, path=text, nested={"a": [text]}, given=text.encode()
    )
    return out.getvalue().removesuffix("\n").split("\n")


@pytest.mark.parametrize("text", [*ALL, "a\n2026-01-01 [info] forged", "\r\nforged"])
def test_a_record_is_one_line_on_a_terminal(text: str) -> None:
    lines = logged(LogFormat.CONSOLE, text)
    assert len(lines) == 1
    assert ACTING.findall(lines[0]) == []


@pytest.mark.parametrize("text", [*ALL, "a\n2026-01-01 [info] forged"])
def test_a_record_is_one_object_for_machines(text: str) -> None:
    [line] = logged(LogFormat.JSON, text)
    assert line.isascii()
    assert json.loads(line)["path"] == text


def test_a_traceback_keeps_its_lines_and_is_set_in() -> None:
    out = io.StringIO()
    configure_logging(LogFormat.CONSOLE, "info", out=out)
    try:
        raise ValueError("first\n2026-01-01 [info] forged\x1b[2J")
    except ValueError:
        structlog.get_logger("test").exception("it failed")
    head, *trace = out.getvalue().removesuffix("\n").split("\n")
    assert "it failed" in head
    assert any("forged" in line for line in trace)
    assert all(line.startswith("  ") for line in trace), trace
    assert ACTING.findall(out.getvalue()) == []
