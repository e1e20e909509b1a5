"""Takes the assignments out of Terraform variable files, without understanding their values.

A ``.tfvars`` file is a list of ``name = expression``. Where an expression ends is found by
counting brackets outside quotes, comments and heredocs; the expression itself is passed on as
it stands, for terraform to read.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from sluice.base.errors import InvalidInputError
from sluice.wire.shapes.tasks import RunVariable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SPACE = re.compile(r"(?:\s+|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_HEREDOC = re.compile(r"<<-?([A-Za-z_][A-Za-z0-9_-]*)\r?\n")
_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_OPEN, _CLOSE = "([{", ")]}"


class TfvarsError(ValueError):
    """The text is no list of assignments; the message names the line."""


def variables_of_file(path: Path) -> list[RunVariable]:
    """The assignments of a ``.tfvars`` or ``.tfvars.json`` file.

    Raises:
        InvalidInputError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.name.endswith(".json"):
            return list(_of_json(text))
        return [
            RunVariable(key=key, value=value, hcl=True)
            for key, value in assignments(text)
        ]
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error


def assignments(text: str) -> Iterator[tuple[str, str]]:
    """Names and expressions in order.

    Raises:
        TfvarsError: the text is something else.
    """
    at = _after_space(text, 0)
    while at < len(text):
        name = _NAME.match(text, at)
        equals = _after_space(text, name.end()) if name else at
        if name is None or text[equals : equals + 1] != "=":
            raise TfvarsError(f"line {_line(text, at)}: expected `name = value`")
        start = _after_blank(text, equals + 1)
        end = _end_of_expression(text, start)
        value = text[start:end].strip()
        if not value:
            raise TfvarsError(f"line {_line(text, at)}: {name[0]} has no value")
        yield name[0], value
        at = _after_space(text, end)


def _end_of_expression(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        sign = text[at]
        if sign == "\n" and depth == 0:
            return at
        if sign in _OPEN:
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
        skipped = _over_opaque(text, at, depth)
        if skipped is None:
            return at
        at = skipped
    if depth > 0:
        raise TfvarsError(f"line {_line(text, at)}: a bracket is not closed")
    return at


def _over_opaque(text: str, at: int, depth: int) -> int | None:
    """The position after what stands at ``at``; None where a comment ends the expression."""
    if text[at] == '"':
        return _over_string(text, at)
    if heredoc := _HEREDOC.match(text, at):
        closing = re.compile(rf"^[ \t]*{re.escape(heredoc[1])}[ \t]*\r?$", re.MULTILINE)
        end = closing.search(text, heredoc.end())
        if end is None:
            raise TfvarsError(
                f"line {_line(text, at)}: the heredoc {heredoc[1]} does not end"
            )
        return end.end()
    if comment := _COMMENT.match(text, at):
        return comment.end() if depth or comment[0].startswith("/*") else None
    return at + 1


def _over_string(text: str, at: int) -> int:
    """The position after a quoted string, with the quotes of its interpolations in it."""
    begin, at, depth = at, at + 1, 0
    while at < len(text):
        if text.startswith(("$${", "%%{"), at):
            at += 3
        elif text.startswith(("${", "%{"), at):
            depth, at = depth + 1, at + 2
        elif depth and text[at] == '"':
            at = _over_string(text, at)
        elif depth and text[at] in "{}":
            depth, at = depth + (1 if text[at] == "{" else -1), at + 1
        elif text[at] == "\\":
            at += 2
        elif text[at] == '"':
            return at + 1
        elif text[at] == "\n":
            break
        else:
            at += 1
    raise TfvarsError(f"line {_line(text, begin)}: a quote is not closed")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _after_blank(text: str, at: int) -> int:
    while text[at : at + 1] in {" ", "\t"}:
        at += 1
    return at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _of_json(text: str) -> Iterator[RunVariable]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TfvarsError("the file must hold one JSON object")
    for key, value in content.items():
        if isinstance(value, str):
            yield RunVariable(key=key, value=value)
        else:
            # JSON is HCL, but for its templates
            expression = json.dumps(value).replace("${", "$${").replace("%{", "%%{")
            yield RunVariable(key=key, value=expression, hcl=True)
