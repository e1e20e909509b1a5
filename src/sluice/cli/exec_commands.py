"""`keruta-agent execute …`: the name and the options that existing jobs call `sluice exec` by."""

import sys
from collections import deque
from typing import NoReturn

from sluice.base.errors import InvalidInputError
from sluice.cli.exit_codes import ExitCode
from sluice.cli.main import main

_COMMANDS = frozenset({"execute", "run"})
_RENAMED = {"--api-url": "--url"}
# by ours; what the empty ones switch is not there
_SWITCHES = {
    "--disable-log-streaming": "--disable-log-streaming",
    "--verbose": "--verbose",
    "-v": "--verbose",
    "--auto-detect-input": "",
    "--auto-cleanup": "",
}
_ALONE = frozenset({"-h", "--help", "--version"})
_TRUE = frozenset({"", "1", "t", "true"})


def keruta_agent() -> NoReturn:
    """Run the command line of a job as `sluice exec`, and end with its exit code."""
    try:
        arguments = as_exec(sys.argv[1:])
    except InvalidInputError as error:
        sys.stderr.write(f"error: {error.detail}\n")
        sys.exit(ExitCode.USAGE)
    sys.exit(main(arguments))


def as_exec(arguments: list[str]) -> list[str]:
    """The arguments of `sluice` that do what these of `keruta-agent` say.

    Options may stand before and behind the command; switches may have a value, as
    ``--auto-cleanup=false``; a script may be named by ``--script``.

    Raises:
        InvalidInputError: the command is not `execute`; nothing else of `sluice` is
            started by this name.
    """
    command = ""
    options: list[str] = []
    script: list[str] = []
    rest = deque(arguments)
    while rest:
        word = rest.popleft()
        if word == "--":
            script += rest
            break
        if word.startswith("-"):
            given = _option(word, rest)
            if given[:1] == ["--script"]:
                script += given[1:]
            else:
                options += given
        elif command or word not in _COMMANDS:
            script += [word, *rest]
            break
        else:
            command = "exec"
    if not command:
        return _without_command(options, script)
    return [command, *options, *(["--", *script] if script else [])]


def _without_command(options: list[str], script: list[str]) -> list[str]:
    """What asks for help or the version; anything else lacks `execute`."""
    if not script and set(options) <= _ALONE:
        return ["--version"] if "--version" in options else ["exec", "--help"]
    named = (
        f"{script[0]!r} is no command of keruta-agent"
        if script
        else "There is no command"
    )
    raise InvalidInputError(
        f"{named}; a script is run by: keruta-agent execute --task-id ID -- ./script.sh"
    )


def _option(word: str, rest: deque[str]) -> list[str]:
    """An option as `sluice exec` knows it, with its value taken from ``rest``."""
    name, sign, value = word.partition("=")
    if name in _ALONE:
        return [word]
    if name in _SWITCHES:
        ours = _SWITCHES[name]
        return [ours] if ours and value.lower() in _TRUE else []
    if not sign:
        value = rest.popleft() if rest else ""
    return [_RENAMED.get(name, name), value]
