"""Commands that the documentation shows exist, with the options it shows."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support import reference

ROOT = Path(__file__).resolve().parents[2]
SHOWN = re.compile(
    r"^(?:    |\t)(?:[A-Z_]+=\S+ )*(sluice [^#\n|>]*)|`(sluice [^`]+)`", re.MULTILINE
)
PLACEHOLDERS = {"COMMAND"}


def shown() -> list[tuple[str, str]]:
    """Every command line that a page shows, generated pages left out."""
    found = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        if page.name == "cli.md":
            continue
        for block, inline in SHOWN.findall(page.read_text()):
            found.append((page.name, (block or inline).strip()))
    return sorted(set(found))


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Options of every command, and the groups without any."""
    options = {}
    for path, command in reference.commands():
        names = {
            name for one in command.params for name in [*one.opts, *one.secondary_opts]
        }
        options[path] = names | {"--help", "--version"}
        options.setdefault(path.rpartition(" ")[0], {"--help"})
    options["sluice"] |= {"--version"}
    return options


@pytest.mark.parametrize(("page", "line"), shown())
def test_a_shown_command_exists(
    page: str, line: str, known: dict[str, set[str]]
) -> None:
    words = shlex.split(line.replace("…", "X"))
    if len(words) > 1 and words[1] in PLACEHOLDERS:
        return
    path = max(
        (" ".join(words[:n]) for n in (1, 2, 3) if " ".join(words[:n]) in known),
        key=len,
        default="",
    )
    assert path, f"{page}: no such command: {line}"
    assert path != "sluice" or len(words) == 1 or words[1].startswith("-"), line
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given - {"-", "--"} <= known[path], f"{page}: {line}"
