"""Rule files: what loads, and what is said of those that do not."""

from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.receiver.loading import load_rules

HEAD = "from sluice.receiver.rules import Change, deny, rule\n"


def write(tmp_path: Path, text: str, name: str = "rules.py") -> Path:
    """A rule file."""
    path = tmp_path / name
    path.write_text(text)
    return path


def test_files_load_in_their_order(tmp_path: Path) -> None:
    one = write(tmp_path, HEAD + "deny(type='a')\n@rule\ndef b(change): ...\n", "a.py")
    two = write(
        tmp_path,
        "from __future__ import annotations\n"
        + HEAD
        + "import beside_rules\n@rule(name=beside_rules.NAME)\ndef c(x: Change): ...\n",
        "b.py",
    )
    write(tmp_path, "NAME = 'from beside'\n", "beside_rules.py")
    found = load_rules([one, two])
    assert [rule.name for rule in found] == ["deny", "b", "from beside"]
    assert [rule.place for rule in found] == ["a.py:2", "a.py:3", "b.py:4"]


def test_the_example_loads() -> None:
    root = Path(__file__).resolve().parents[2]
    assert len(load_rules([root / "examples" / "run-tasks" / "rules.py"])) == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(:\n", "rules.py:1: "),
        (HEAD + "deny()\n", "rules.py:2: name at least one of"),
        (HEAD + "deny(action='x')\n", "rules.py:2: action is one of"),
        (HEAD + "deny(typ='x')\n", "rules.py:2: TypeError: "),
        (HEAD + "@rule\ndef a(x: int): ...\n", "rules.py:2: a takes a Change"),
        (HEAD + "@rule\ndef a(x: Chang): ...\n", "name 'Chang'"),
        ("import nothing_like_it\n", "rules.py:1: ModuleNotFoundError: "),
        ("raise SystemExit(3)\n", "rules.py:1: SystemExit: 3."),
        ("x = 1\n", "holds no rule"),
        ("\0", "rules.py"),
    ],
)
def test_a_file_that_does_not_load_is_told_of(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_rules([write(tmp_path, text)])
    assert told in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_file_that_is_none_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_rules([tmp_path / "nowhere.py"])
    with pytest.raises(InvalidInputError, match=r"must end in \.py"):
        load_rules([write(tmp_path, HEAD, "rules.txt")])
