"""Which files of a directory are uploaded: `.terraformignore`, and what is never sent.

The patterns mean what they mean to terraform itself: like `.gitignore`, the last match
decides, `!` takes back, `/` at the beginning binds to the top, `**` spans directories. A
directory that matches is left out with all that is in it, unless a later `!` could take
some of that back.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sluice.terraform.archive_limits import ArchiveError

FILE_NAME = ".terraformignore"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the file; ``keep`` is a line that began with `!`."""

    pattern: re.Pattern[str]
    keep: bool


def parse_rules(text: str) -> list[Rule]:
    """The rules of a `.terraformignore`; empty lines and comments are skipped.

    Raises:
        ArchiveError: a pattern cannot be read.
    """
    rules = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        keep = stripped.startswith("!")
        glob = stripped.removeprefix("!").strip()
        if glob.strip("/"):
            rules.append(Rule(_compiled(glob), keep))
    return rules


def is_never_sent(parts: tuple[str, ...]) -> bool:
    """Repository, caches, local state and the server's own files, wherever they lie.

    Of `.terraform` the modules go along: an agent may not reach where they came from.
    """
    for place, name in enumerate(parts):
        if name in {".git", ".sluice"}:
            return True
        if name == ".terraform" and parts[place + 1 : place + 2] not in {
            (),
            ("modules",),
        }:
            return True
    return ".tfstate" in parts[-1]


def is_ignored(parts: tuple[str, ...], rules: Sequence[Rule]) -> bool:
    """Whether the last rule that matches the path says that it stays here."""
    path = "/".join(parts)
    for rule in reversed(rules):
        if rule.pattern.fullmatch(path):
            return not rule.keep
    return False


@functools.cache
def _compiled(glob: str) -> re.Pattern[str]:
    """A glob as a pattern over the whole path; what lies below a match matches too."""
    anchored = glob.startswith("/")
    below = r"/.+" if glob.endswith("/") else r"(?:/.+)?"
    body = _translated(glob.strip("/"))
    start = "" if anchored else r"(?:.*/)?"
    try:
        return re.compile(start + body + below, re.DOTALL)
    except re.error as error:
        raise ArchiveError(
            f"{FILE_NAME}: the pattern {glob!r} cannot be read ({error})."
        ) from None


_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|.", re.DOTALL)


def _translated(glob: str) -> str:
    parts = []
    for token in _TOKENS.findall(glob):
        match token:
            case "**/":
                parts.append(r"(?:.*/)?")
            case "**":
                parts.append(r".*")
            case "*":
                parts.append(r"[^/]*")
            case "?":
                parts.append(r"[^/]")
            case _ if len(token) > 1:
                parts.append(_character_class(token[1:-1]))
            case _:
                parts.append(re.escape(token))
    return "".join(parts)


def _character_class(members: str) -> str:
    negated = "^" if members.startswith("!") else ""
    escaped = re.sub(r"([\\\[^&~|])", r"\\\1", members.removeprefix("!"))
    return f"[{negated}{escaped}]"
