"""The `sluice` command: one way in, and every error leaves as one line and an exit code."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from sluice import __version__
from sluice.base.errors import SluiceError
from sluice.cli.ansi import plain
from sluice.cli.groups import HELP_OPTIONS
from sluice.cli.lazy import LazyGroup
from sluice.cli.settings import asked_to_complete, cli_settings

# of what is wrong with a request, so much is said in its one line
_NAMED_FAULTS = 5
# by the type of the fault; anything else is in the library's words
_FAULTS = {
    "string_too_short": "may not be empty",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "missing": "is missing",
    "extra_forbidden": "is no field of it",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}

_EPILOG = "`sluice COMMAND --help` says more of each. Exit codes: 0 ok, 1 failed, 2 usage, 3 not applied, 4 not allowed, 5 not found, 6 conflict, 7 unreachable."

app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=_EPILOG,
    context_settings=HELP_OPTIONS,
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - Typer's callback
    if asked:
        typer.echo(f"sluice {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and end.",
        ),
    ] = False,
) -> None:
    """Run Terraform and scripts on agents, watch every line, and keep it."""


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run a command line; its exit code.

    With ``SLUICE_DEBUG=1`` an error keeps its traceback.
    """
    try:
        result = _invoke(arguments)
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        return _broken_pipe()
    except (Exception, KeyboardInterrupt) as error:
        if cli_settings().debug and not isinstance(error, KeyboardInterrupt):
            raise
        return _report(error)
    return result if isinstance(result, int) else 0


def _invoke(arguments: list[str]) -> object:
    command = typer.main.get_command(app)
    if asked_to_complete():
        return command.main(arguments, prog_name="sluice")
    # `main` of Typer would turn a broken pipe into exit code 1
    with command.make_context("sluice", arguments) as context:
        return command.invoke(context)


def _report(error: BaseException) -> int:
    from sluice.cli.exit_codes import ExitCode, code_of_error

    if isinstance(error, SluiceError):
        _write(f"error: {plain(error.detail)}")
        return code_of_error(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _write("Interrupted.")
        return ExitCode.INTERRUPTED
    usage = _usage_message(error) or _input_message(error)
    if usage is not None:
        _write(usage)
        return ExitCode.USAGE
    if isinstance(error, OSError) and error.filename:
        _write(f"error: {error.filename}: {error.strerror}")
        return ExitCode.USAGE
    _write(
        f"error: a fault in the command itself ({type(error).__name__}: {error}); "
        "run it again with SLUICE_DEBUG=1 and report what it shows."
    )
    return ExitCode.INTERNAL


def _usage_message(error: BaseException) -> str | None:
    """The message of an error in the command line; None for any other error."""
    if not isinstance(error, typer.exceptions.TyperException):
        return None
    context = getattr(error, "ctx", None)
    message = error.format_message().replace(": Value error, ", ": ")
    if context is None:
        return f"error: {message}"
    first = message[:1].lower() + message[1:].rstrip(".")
    return f"error: {first}; see `{context.command_path} --help`"


def _input_message(error: BaseException) -> str | None:
    """What is wrong with the fields of a request, never a value; None for any other error."""
    from pydantic import ValidationError

    from sluice.wire.shapes.base import Input

    requests = {kind.__name__ for kind in Input.__subclasses__()}
    if not isinstance(error, ValidationError) or error.title not in requests:
        return None
    faults = error.errors(include_url=False, include_input=False)
    named = []
    for fault in faults[:_NAMED_FAULTS]:
        field = ".".join(str(part) for part in fault["loc"])
        said = fault["msg"].removeprefix("Value error, ")
        what = _FAULTS.get(fault["type"], "{said}")
        what = what.format_map({**fault.get("ctx", {}), "said": said})
        named.append(f"{field}: {what}" if field else what)
    more = len(faults) - len(named)
    return f"error: {'; '.join(named)}" + (f" (and {more} more)." if more else ".")


def _broken_pipe() -> int:
    from sluice.cli.exit_codes import ExitCode

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return ExitCode.BROKEN_PIPE


def _write(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
