"""Tests and files that a page names exist: a claim that is shown by nothing is found here."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "design").glob("*.md"))
TEST = re.compile(r"`(test_\w+)`")
FILE = re.compile(r"`((?:src/sluice/|tests/)?[a-z_]+/[a-z_/]+\.py)`")


def known_tests() -> set[str]:
    """All test functions there are."""
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"def (test_\w+)\(", file.read_text()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = TEST.findall(text)
    assert named
    assert sorted(set(named) - known_tests()) == []
    files = FILE.findall(text)
    assert files
    missing = [
        name
        for name in files
        if not any((root / name).exists() for root in (ROOT, ROOT / "src" / "sluice"))
    ]
    assert missing == []


SECURITY = ROOT / "docs" / "explanation" / "security.md"
ROW = re.compile(r"^\| (?P<threat>[^|]+) \| (?P<line>[^|]+) \| (?P<tests>[^|]+) \|$")


def threats() -> list[re.Match[str]]:
    """The rows of the table of threats."""
    _, _, table = SECURITY.read_text().partition("## Threats")
    rows = [found for line in table.splitlines() if (found := ROW.match(line))]
    return [row for row in rows if row["threat"] not in {"Threat", "---"}]


def test_there_are_threats() -> None:
    assert len(threats()) > 25


@pytest.mark.parametrize("row", threats(), ids=lambda row: row["threat"][:40])
def test_each_threat_has_tests_that_are_there(row: re.Match[str]) -> None:
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)`", row["tests"])
    assert named
    assert row["tests"].count("`") == 2 * len(named)
    for name in named:
        assert "def test_" in (ROOT / name).read_text(), name
    for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", row["line"]):
        assert (ROOT / "src" / "sluice" / name).exists(), name
