"""Nothing that somebody else wrote does more in a terminal than show itself and its colours."""

import io
import json
import re

import pytest

from sluice.cli.ansi import Colours, in_json, plain
from sluice.cli.console import Console
from sluice.cli.settings import CliSettings
from tests.cli.scripted_server import ScriptedServer
from tests.cli.terminal import Place
from tests.client.log_standins import TASK
from tests.support.hostile import ALL, HIDDEN, PAGE, TERMINAL

SGR = re.compile(r"\x1b\[[0-9;:]*m")
# what the command itself moves on a terminal: its status line
OWN = re.compile(
    r"\x1b\[[0-9;:]*m|\x1b\[\?(?:25|2026)[hl]|\x1b\[(?:2?K|J|0J)|\r(?=\n|\x1b\[|$)"
)
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\U000e0000-\U000e007f]"
)


def left(shown: str) -> list[str]:
    """What would still act on a terminal."""
    return CONTROL.findall(SGR.sub("", shown))


def test_there_are_many_of_them() -> None:
    assert len(ALL) >= 400
    assert len(set(ALL)) == len(ALL)
    assert min(len(PAGE), len(TERMINAL)) >= 150


@pytest.mark.parametrize("text", [*TERMINAL, *HIDDEN])
def test_a_line_of_output_only_has_colours(text: str) -> None:
    colours = Colours()
    for line in (f"before {text} after", text, "next line"):
        assert left(plain(line)) == []
        assert "\x1b" not in plain(line)
        assert left(colours.line(line)) == []


@pytest.mark.parametrize("text", [*TERMINAL, *HIDDEN])
def test_a_name_or_a_reason_stays_in_its_place(text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out, err, settings=CliSettings())
    console.table(["NAME", "STATUS"], [[f"a{text}b", "running"]])
    console.facts([("Reason", f"a{text}b")])
    console.line(f"a{text}b")
    for say in (console.bad, console.warn, console.good, console.hint, console.say):
        say(f"a{text}b")
    assert left(out.getvalue()) == []
    assert left(err.getvalue()) == []
    assert "running" in out.getvalue().splitlines()[1]


@pytest.mark.parametrize("text", ALL)
def test_json_means_the_same_and_moves_nothing(text: str) -> None:
    out = io.StringIO()
    console = Console(out, io.StringIO(), settings=CliSettings())
    console.json_line({"name": text})
    console.json({"name": text})
    line, _, document = out.getvalue().partition("\n")
    assert json.loads(line) == json.loads(document) == {"name": text}
    assert left(out.getvalue()) == []
    assert "\x1b" not in out.getvalue()
    assert in_json(line) == line


def test_a_log_with_all_of_them_with_pipes(
    place: Place, script: ScriptedServer
) -> None:
    script.is_now("running", stage="planning")
    script.say(*ALL)
    script.end()
    done = place.run("logs", TASK)
    assert done.returncode == 0, done.stderr
    assert left(done.stdout) == []
    assert "\x1b" not in done.stdout
    for text in PAGE:
        assert text in done.stdout
    told = place.run("logs", TASK, "--json")
    assert told.returncode == 0, told.stderr
    assert left(told.stdout) == []
    records = [json.loads(line) for line in told.stdout.split("\n") if line]
    lines = [one["line"] for one in records if one.get("source") == "stdout"]
    assert lines == ALL


def test_a_log_with_all_of_them_on_a_terminal(
    place: Place, script: ScriptedServer
) -> None:
    script.is_now("running", stage="planning")
    script.say(*ALL, "the last line")
    script.end()
    with place.terminal("logs", TASK) as shown:
        shown.expect("the last line")
        assert shown.wait() == 0
        assert CONTROL.findall(OWN.sub("", shown.raw)) == []
