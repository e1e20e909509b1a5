"""Decides what a log may be called: a name, never a path."""

import re
import unicodedata
from typing import ClassVar

from sluice.base.errors import SluiceError

_MAX = 200
_SUFFIX = ".log"
# separators, drives, controls, and `%`: no name has one, and it may stand for any of them
_NO_NAME = re.compile(r"[/\\:%\x00-\x1f\x7f]|\.\.")


class BadLogNameError(SluiceError):
    """A log is asked for by something that is no name: a path, or characters of one."""

    code: ClassVar[str] = "bad_log_name"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "No name of a log"


def log_name(field: str, given: str) -> str:
    """The name, without `.log` at its end.

    Raises:
        BadLogNameError: it is a path, or could become one.
    """
    # full-width slashes and the like are what they look like
    plain = unicodedata.normalize("NFKC", given)
    if len(given) > _MAX or _NO_NAME.search(plain):
        raise BadLogNameError(
            f"{field} is {given[:60]!r}, which is no name of a log; give a task's id, with"
            " or without .log, or a script's key."
        )
    return given.removesuffix(_SUFFIX)
