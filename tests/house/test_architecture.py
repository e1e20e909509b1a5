"""ARCHITECTURE.md, the import contracts and the source tree name the same packages."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "sluice"


def contracts() -> configparser.ConfigParser:
    """The import contracts."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def lines(section: str, option: str) -> list[str]:
    """One option's lines."""
    text = contracts()[f"importlinter:contract:{section}"][option]
    return [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]


def floors() -> list[set[str]]:
    """The floors of the contract, roof first."""
    return [
        {name.strip() for name in re.split(r"[|:]", line)}
        for line in lines("floors", "layers")
        if line != "__main__"
    ]


def table() -> list[set[str]]:
    """The floors of ARCHITECTURE.md's package table, roof first."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| *(\d+) *\| *(`[^|]+?) *\|", text, re.MULTILINE)
    found: dict[int, set[str]] = {}
    for floor, packages in rows:
        found.setdefault(int(floor), set()).update(re.findall(r"`(\w+)`", packages))
    return [found[floor] for floor in sorted(found, reverse=True)]


def packages() -> set[str]:
    """The packages that exist."""
    return {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def test_the_table_shows_the_floors_of_the_contract() -> None:
    assert table() == floors()


def test_every_package_stands_on_a_floor() -> None:
    assert set().union(*floors()) == packages()


def test_every_concept_keeps_its_rooms() -> None:
    kept = {name.removeprefix("sluice.") for name in lines("rooms", "containers")}
    concepts = {path.parent.name for path in SOURCE.glob("*/tables.py")}
    assert concepts <= kept


def test_every_model_is_pure() -> None:
    pure = set(lines("pure", "source_modules"))
    models = {f"sluice.{path.parent.name}.model" for path in SOURCE.glob("*/model.py")}
    assert models <= pure


def test_the_agent_program_and_the_cli_see_no_package_above_them() -> None:
    hidden = {
        name.removeprefix("sluice.")
        for name in lines("wings", "forbidden_modules")
        if name.startswith("sluice.")
    }
    wings = next(at for at, floor in enumerate(floors()) if "runner" in floor)
    above = set().union(*floors()[:wings]) - {"testing"}
    assert hidden == above


def test_no_drawer_is_called_service_or_utils() -> None:
    drawers = {"service", "services", "utils", "helpers", "manager", "common", "misc"}
    assert [path for path in SOURCE.rglob("*.py") if path.stem in drawers] == []
