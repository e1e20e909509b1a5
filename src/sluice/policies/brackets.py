"""Finds variables in brackets that get their values nowhere else in a policy's rule.

In Rego `input.resource_changes[i]` stands for every element where `i` has no value yet. The
engine (rego-cpp 1.5) overlooks that inside calls and on one side of some comparisons, and
finds nothing: a policy would pass in silence. So each such variable has to get its values by
`some … in`, `every … in`, an assignment, or as a function's argument. `_` needs no rule:
where the engine cannot do it, it says so.
"""

import re
from collections.abc import Iterator

from sluice.policies.model import SourceFault

_NAME = r"[A-Za-z_]\w*"
_NAMES = re.compile(_NAME)
_HEAD = re.compile(rf"(?:default[ \t]+)?({_NAME})")
_IMPORT = re.compile(r"^import\b.*$", re.MULTILINE)
_USES = re.compile(rf"(?<=[\w\])}}])\[[ \t]*({_NAME})[ \t]*\]")
_GIVES = (
    re.compile(rf"(?<![\w.])({_NAME})[ \t]*:?=(?!=)"),
    re.compile(r"[\[{]([^\[\]{}]*)[\]}][ \t]*:?=(?!=)"),
    re.compile(r"\b(?:some|every)\b([^\n;{}]*?)\bin\b"),
    re.compile(r"\bwalk\([^\n]*,[ \t]*\[([^\[\]]*)\][ \t]*\)"),
)
_CLOSING = "})]"
_OPENING = "{(["


def overlooked(bare: str) -> list[SourceFault]:
    """What is wrong with a policy's text, whose comments and literals are blank."""
    rules = list(_rules(bare))
    everywhere = {
        head.group(1) for _, rule in rules if (head := _HEAD.match(rule)) is not None
    }
    for line in _IMPORT.findall(bare):
        everywhere.update(_NAMES.findall(line))
    faults = []
    for first_line, rule in rules:
        given = everywhere | _given(rule)
        for use in _USES.finditer(rule):
            name = use.group(1)
            if name != "_" and name not in given:
                line = first_line + rule.count("\n", 0, use.start())
                faults.append(SourceFault(line, _words(name)))
    return faults


def _words(name: str) -> str:
    return (
        f"`[{name}]` stands for every element, which the engine overlooks in places; name"
        f" the elements first, as in `some {name}, element in …`"
    )


def _rules(bare: str) -> Iterator[tuple[int, str]]:
    """Each statement at the top, with the line where it begins."""
    depth, begin, lines = 0, 1, list[str]()
    for number, line in enumerate(bare.split("\n"), 1):
        fresh = depth == 0 and line[:1].strip() and line[0] not in _CLOSING
        if fresh and not line.startswith("else"):
            if lines:
                yield begin, "\n".join(lines)
            begin, lines = number, []
        lines.append(line)
        depth += sum(map(line.count, _OPENING)) - sum(map(line.count, _CLOSING))
    yield begin, "\n".join(lines)


def _given(rule: str) -> set[str]:
    """Variables that get values in a rule, its function's arguments among them."""
    names = set(_NAMES.findall(_arguments(rule)))
    for form in _GIVES:
        for found in form.findall(rule):
            names.update(_NAMES.findall(found))
    return names


def _arguments(rule: str) -> str:
    """What stands in the brackets behind a function's name."""
    head = _HEAD.match(rule)
    if head is None or rule[head.end() : head.end() + 1] != "(":
        return ""
    depth = 0
    for at in range(head.end(), len(rule)):
        depth += (rule[at] == "(") - (rule[at] == ")")
        if depth == 0:
            return rule[head.end() : at]
    return rule[head.end() :]
