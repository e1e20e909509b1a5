"""Every link in the project's Markdown leads somewhere, and the changelog has a place for what is new."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def pages() -> list[Path]:
    """All Markdown of the project."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def anchors(page: Path) -> set[str]:
    """What `#…` may name on a page, by GitHub's rule."""
    text = FENCE.sub("", page.read_text())
    names = set()
    for heading in HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        names.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return names


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere; addresses on the network are not asked."""
    found = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (
            anchor and goal.suffix == ".md" and anchor not in anchors(goal)
        ):
            found.append(target)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[gone](nowhere.md) [here](#a-head) [not](#b)")
    assert broken(page) == ["nowhere.md", "#b"]


def test_every_page_of_the_docs_is_reachable() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            goal = (page.parent / target.partition("#")[0]).resolve()
            if goal.suffix == ".md":
                todo.append(goal)
    lost = [str(page.relative_to(ROOT)) for page in pages() if page not in seen]
    assert lost == []


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    heads = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] == "Unreleased"


def test_the_pages_are_not_empty() -> None:
    thin = [str(page) for page in pages() if len(page.read_text().split()) < 30]
    assert thin == []
