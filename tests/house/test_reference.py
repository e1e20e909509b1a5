"""The reference pages say what the code says."""

import re
from pathlib import Path

import pytest

from tests.support import reference


@pytest.mark.parametrize("page", reference.pages(), ids=lambda page: page.name)
def test_a_reference_page_is_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert text == reference.render(text), "run `make docs`"


def test_every_generated_block_has_a_place() -> None:
    placed = [
        name
        for page in reference.pages()
        for _, name, _ in reference.BLOCK.findall(page.read_text())
    ]
    assert sorted(placed) == sorted(reference.BLOCKS)


def test_a_changed_block_is_noticed() -> None:
    text = "<!-- generated: errors -->\n\nformerly\n<!-- end -->"
    assert "formerly" not in reference.render(text)
    assert "`not_found`" in reference.render(text)


def test_every_error_says_what_it_means() -> None:
    silent = [one.__name__ for one in reference.error_classes() if not one.__doc__]
    assert silent == []


def test_codes_of_errors_are_words() -> None:
    codes = {one.code for one in reference.error_classes()}
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in codes)


def test_every_variable_that_is_read_is_documented() -> None:
    documented = (reference.PAGES / "settings.md").read_text()
    read = {
        name
        for path in (reference.ROOT / "src" / "sluice").glob("*/settings.py")
        for name in re.findall(r'"((?:SLUICE|XDG|NO|TF)_[A-Z_]+)"', path.read_text())
        if not name.endswith("_")
    }
    assert read
    assert sorted(name for name in read if f"`{name}`" not in documented) == []
