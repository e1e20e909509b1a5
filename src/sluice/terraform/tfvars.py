"""Writes variables as terraform reads them: a tfvars file, and environment variables."""

import re
from collections.abc import Iterable

from sluice.base.errors import InvalidInputError
from sluice.wire.agent import OrderVariable

TERRAFORM = "terraform"
ENVIRONMENT = "env"

_IDENTIFIER = re.compile(r"[^\W\d][\w-]*")
_ENV_NAME = re.compile(r"[^=\0]+")
_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TEMPLATE = re.compile(r"([$%])(?=\{)")
_DOLLARS = {"$": "\\u0024", "%": "\\u0025"}


def render_tfvars(variables: Iterable[OrderVariable]) -> str:
    """The terraform variables as the text of a ``.tfvars`` file; later ones win.

    HCL values stand as they were given; all others are strings, whatever they contain.

    Raises:
        InvalidInputError: a name that no terraform variable can have.
    """
    lines: dict[str, str] = {}
    for variable in variables:
        if variable.category != TERRAFORM:
            continue
        if not _IDENTIFIER.fullmatch(variable.key):
            raise InvalidInputError(
                f"Variable {variable.key!r} cannot be given to terraform: a name is a"
                " letter or _ followed by letters, digits, _ and -. Rename it."
            )
        value = variable.value if variable.hcl else quoted(variable.value)
        lines[variable.key] = f"{variable.key} = {value}\n"
    return "".join(lines.values())


def environment_variables(variables: Iterable[OrderVariable]) -> dict[str, str]:
    """The environment variables by name; later ones win.

    Raises:
        InvalidInputError: a name or value the operating system cannot take.
    """
    environment: dict[str, str] = {}
    for variable in variables:
        if variable.category != ENVIRONMENT:
            continue
        if not _ENV_NAME.fullmatch(variable.key):
            raise InvalidInputError(
                f"Environment variable {variable.key!r} cannot be set: its name is empty"
                " or holds '='. Rename it."
            )
        if "\0" in variable.value:
            raise InvalidInputError(
                f"Environment variable {variable.key!r} cannot be set: its value holds a"
                " NUL byte. Remove that."
            )
        environment[variable.key] = variable.value
    return environment


def quoted(text: str) -> str:
    """An HCL string whose value is exactly ``text``: no templates, no line breaks."""
    escaped = "".join(map(_escape, text))
    # Not `$${`: that means something else again when another `$` stands before it.
    escaped = _TEMPLATE.sub(lambda hit: _DOLLARS[hit[1]], escaped)
    return f'"{escaped}"'


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char < " " or char in "\x7f\u0085\u2028\u2029\ufeff":
        return f"\\u{ord(char):04x}"
    return char
