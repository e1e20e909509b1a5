"""What is read from the environment, and what of it reviewers may see."""

import os
import shutil
from pathlib import Path

from sluice.base.errors import InvalidInputError

_OURS = "SLUICE_"
_LONGEST_KEY = 4096
# with a key of its maker's service Checkov would send it what it finds
_CHECKOVS_SERVICE = ("BC_", "PRISMA_")


def key_of(environment_name: str | None, file: Path | None) -> str:
    """The key that calls are signed with; empty where neither place is named.

    Raises:
        InvalidInputError: both are named, or the place that is named holds no key.
    """
    if environment_name and file:
        raise InvalidInputError("Give --hmac-key-env or --hmac-key-file, not both.")
    if environment_name:
        key = os.environ.get(environment_name, "")
        place = f"The environment variable {environment_name}"
    elif file:
        try:
            with file.open() as content:
                key = content.readline(_LONGEST_KEY).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no text"
            raise InvalidInputError(
                f"The key file {file} cannot be read ({why})."
            ) from None
        place = f"The key file {file}"
    else:
        return ""
    if not key:
        raise InvalidInputError(f"{place} is empty; put the run task's key there.")
    return key


def environment_of_rules(key_name: str | None) -> dict[str, str]:
    """Our environment without the key and without what is set for Sluice."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != key_name and not name.startswith(_OURS)
    }


def environment_of_checkov(key_name: str | None) -> dict[str, str]:
    """The same without what would connect Checkov to its maker's service."""
    return {
        name: value
        for name, value in environment_of_rules(key_name).items()
        if not name.startswith(_CHECKOVS_SERVICE)
    } | {"CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"}


def found_program(name: str) -> str:
    """The whole path of a program.

    Raises:
        InvalidInputError: there is none of this name.
    """
    path = shutil.which(name)
    if path is None:
        raise InvalidInputError(
            f"There is no program {name}; install it (`uv tool install checkov`) or name it"
            " with --checkov."
        )
    return str(Path(path).absolute())
