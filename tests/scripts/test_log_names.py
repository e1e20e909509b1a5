"""What may name a log."""

import pytest

from sluice.scripts.log_names import BadLogNameError, log_name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("task-8fQ2m1YdW3kZ9xTa", "task-8fQ2m1YdW3kZ9xTa"),
        ("task-8fQ2m1YdW3kZ9xTa.log", "task-8fQ2m1YdW3kZ9xTa"),
        ("install.v1.log", "install.v1"),
        ("a.log.log", "a.log"),
        ("nginx", "nginx"),
        ("", ""),
    ],
)
def test_names(given: str, name: str) -> None:
    assert log_name("fn", given) == name


@pytest.mark.parametrize(
    "given",
    [
        *("/etc/passwd", "../x", "..", "a/../b", "a/b", "./a", "~/.ssh/id"),
        *("..\\x", "\\\\host\\share", "a\\b", "C:\\x", "C:x", "file:x"),
        *("a\0b", "a\0.log", "a\nb", "a\x7fb"),
        *("%2e%2e%2fetc", "%2Fetc", "a%5cb", "a%00", "%252e", "..%c0%af"),
        # full-width signs that some file systems take for the plain ones
        *("a\uff0fb", "\uff3cx", "\u2025", "\uff0e\uff0e"),
        "a" * 201,
    ],
)
def test_paths_and_what_could_become_one(given: str) -> None:
    with pytest.raises(BadLogNameError, match="is no name of a log") as refused:
        log_name("fn", given)
    assert refused.value.status == 400
