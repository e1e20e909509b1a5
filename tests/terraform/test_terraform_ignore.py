import pytest

from sluice.terraform.archive_limits import ArchiveError
from sluice.terraform.terraform_ignore import is_ignored, parse_rules

RULES = """
# comments are skipped
 # spaces do not matter
   baz.txt
terraform.d/
!/terraform.d/
**/foo/bar.tf
foo/*.md
bar/something-[a-z].txt
boop.txt
!/boop.txt
/top
deep/**/leaf
one?.tf
[!a]x.log
"""


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("baz.txt", True),
        ("parent/foo/baz.txt", True),
        ("something/with-baz.txt", False),
        ("something/baz.x", False),
        ("baz.txt/below", True),
        ("parent/foo/bar.tf", True),
        ("foo/bar.tf", True),
        ("parent/bar/bar.tf", False),
        ("foo/doc.md", True),
        ("a/foo/doc.md", True),
        ("foo/sub/doc.md", False),
        ("bar/something-a.txt", True),
        ("bar/something-A.txt", False),
        ("module/terraform.d/x", True),
        ("terraform.d/x", False),
        ("terraform.d", False),
        ("baz/boop.txt", True),
        ("boop.txt", False),
        ("top", True),
        ("top/below", True),
        ("a/top", False),
        ("deep/leaf", True),
        ("deep/a/b/leaf", True),
        ("deep/a/b/leaves", False),
        ("one1.tf", True),
        ("one12.tf", False),
        ("bx.log", True),
        ("ax.log", False),
    ],
)
def test_the_last_match_decides(path: str, ignored: bool) -> None:
    assert is_ignored(tuple(path.split("/")), parse_rules(RULES)) is ignored


def test_nothing_is_ignored_without_rules() -> None:
    assert parse_rules("\n# nothing\n!\n/\n") == []
    assert not is_ignored(("a",), [])


def test_dots_and_plus_are_themselves() -> None:
    rules = parse_rules("a.b+c\n")
    assert is_ignored(("a.b+c",), rules)
    assert not is_ignored(("aXbbc",), rules)


def test_odd_character_classes_do_no_harm() -> None:
    assert is_ignored(("a[",), parse_rules("a[\n"))
    assert is_ignored(("\\",), parse_rules("[\\^]\n"))
    with pytest.raises(ArchiveError, match=r"\[z-a\]"):
        parse_rules("[z-a]\n")
