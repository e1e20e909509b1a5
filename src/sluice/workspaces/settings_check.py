"""Which values a workspace's settings and variables may have."""

from pathlib import PurePosixPath

from sluice.base.errors import InvalidInputError
from sluice.terraform.hcl_text import BrokenHclError, check_expression
from sluice.terraform.versions import parse_constraint
from sluice.wire.shapes.workspaces import VariableCategory

# Linux starts no program with a longer `key=value` in its environment (MAX_ARG_STRLEN)
_ENVIRONMENT_BYTES = 128 * 1024 - 1


def working_directory(text: str) -> str:
    """``text`` as a plain relative path; empty for the root.

    Raises:
        InvalidInputError: it is absolute, or leads out of the configuration.
    """
    if any(ord(character) < 0x20 or character == "\x7f" for character in text):
        raise InvalidInputError("working_directory holds control characters.")
    path = PurePosixPath(text.strip())
    if path.is_absolute() or "\\" in text:
        raise InvalidInputError(
            f"working_directory is {text!r}; give a path relative to the "
            "configuration's root, with forward slashes."
        )
    if ".." in path.parts:
        raise InvalidInputError(
            f"working_directory is {text!r}; it may not contain `..`."
        )
    return "" if path == PurePosixPath() else str(path)


def terraform_version(text: str) -> str:
    """``text`` without blanks around it; empty means `latest`.

    Raises:
        InvalidInputError: it is no version, no constraint and not `latest`.
    """
    try:
        return parse_constraint(text).text
    except InvalidInputError as error:
        raise InvalidInputError(f"terraform_version: {error.detail}") from None


def variable_kind(category: VariableCategory, *, hcl: bool) -> None:
    """Refuse an environment variable that is said to be HCL.

    Raises:
        InvalidInputError: it is.
    """
    if hcl and category is VariableCategory.ENV:
        raise InvalidInputError(
            "hcl: an environment variable is plain text; use the category `terraform` "
            "for an HCL value."
        )


def variable_size(category: VariableCategory, key: str, value: str) -> None:
    """Refuse an environment variable with which no program could be started.

    Raises:
        InvalidInputError: it is too long.
    """
    size = len(f"{key}={value}".encode())
    if category is VariableCategory.ENV and size > _ENVIRONMENT_BYTES:
        raise InvalidInputError(
            f"value: an environment variable may have at most {_ENVIRONMENT_BYTES} bytes "
            f"with its name, and {key} has {size}; use a terraform variable for more."
        )


def hcl_value(value: str) -> None:
    """Refuse what is no HCL expression; terraform says the rest.

    Raises:
        InvalidInputError: it is broken; the detail says where and shows none of it.
    """
    try:
        check_expression(value)
    except BrokenHclError as broken:
        raise InvalidInputError(
            f"value: {broken}. Mend the HCL expression, or send it without `hcl` as the"
            " text that it is."
        ) from None
