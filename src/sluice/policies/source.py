"""Reads of a policy's text what the engine does not tell: package, rules, and called functions."""

import re
from dataclasses import dataclass

from sluice.policies.brackets import overlooked
from sluice.policies.model import SourceFault

MAX_BYTES = 256 * 1024
RULES = ("deny", "warn")

_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|#[^\n]*')
_PACKAGE = re.compile(
    r"^[ \t]*package[ \t]+([A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[[ \t]*\"[ ]*\"[ \t]*\])*)",
    re.MULTILINE,
)
_RULE = re.compile(
    r"^[ \t]*(?:default[ \t]+)?(deny|warn)(?=[ \t]|\[|:|=|\{|$)", re.MULTILINE
)
_CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\(")
_ARGUMENTS = r"\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)"
_FUNCTIONS = (
    re.compile(r"^(?:default[ \t]+)?([A-Za-z_]\w*)\(", re.MULTILINE),
    re.compile(
        rf"^[ \t]+(?:default[ \t]+)?([A-Za-z_]\w*){_ARGUMENTS}[ \t]*(?::=|if\b|\{{)",
        re.MULTILINE,
    ),
)
_WORDS = frozenset(
    {"as", "default", "else", "every", "if", "import", "in", "not", "some", "with"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """A function that is called and not defined in the same text."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Outline:
    """What a policy's text declares.

    Attributes:
        package: its package as written, such as ``terraform`` or ``a["b-c"]``.
        rules: which of `deny` and `warn` it has.
        calls: functions that the engine must know.
    """

    package: str
    rules: tuple[str, ...]
    calls: tuple[Call, ...]


def outline(source: str) -> Outline | SourceFault:
    """The outline of a policy's text, or why it can be none."""
    bare = _LITERAL.sub(_blank, source)
    package = _PACKAGE.search(bare)
    if package is None:
        return SourceFault(
            1, "no package is declared; begin with a line such as `package terraform`"
        )
    named = source[package.start(1) : package.end(1)]
    found = {match.group(1) for match in _RULE.finditer(bare)}
    rules = tuple(rule for rule in RULES if rule in found)
    if not rules:
        line = _line(bare, package.start())
        return SourceFault(
            line,
            "there is neither a rule `deny` nor `warn`; it would never say anything",
        )
    for fault in overlooked(bare):
        return fault
    return Outline(named, rules, _calls(bare, named))


def _calls(bare: str, package: str) -> tuple[Call, ...]:
    own = {match.group(1) for form in _FUNCTIONS for match in form.finditer(bare)}
    found: dict[str, Call] = {}
    for match in _CALL.finditer(bare):
        name = match.group(1).removeprefix(f"data.{package}.")
        if name not in own and name not in _WORDS:
            found.setdefault(name, Call(name, _line(bare, match.start())))
    return tuple(found.values())


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _blank(match: re.Match[str]) -> str:
    """As many characters, with the quotes and line ends that were there."""
    text = match.group(0)
    if text.startswith("#"):
        return " " * len(text)
    inner = "".join("\n" if letter == "\n" else " " for letter in text[1:-1])
    return f"{text[0]}{inner}{text[-1]}"
