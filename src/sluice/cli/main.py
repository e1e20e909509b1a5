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
    """Run Terraform on agents, watch every line, and keep it."""


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
    """What is wrong with a field of a request, never its value; None for any other error."""
    from pydantic import ValidationError

    from sluice.wire.shapes.base import Input

    requests = {kind.__name__ for kind in Input.__subclasses__()}
    if not isinstance(error, ValidationError) or error.title not in requests:
        return None
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in fault["loc"])
    limits = fault.get("ctx", {})
    match fault["type"]:
        case "string_too_short":
            what = "may not be empty"
        case "string_too_long":
            what = f"may have at most {limits['max_length']} characters"
        case "string_pattern_mismatch":
            what = f"must match {limits['pattern']}"
        case _:
            what = fault["msg"].removeprefix("Value error, ")
    return f"error: {field}: {what}."


def _broken_pipe() -> int:
    from sluice.cli.exit_codes import ExitCode

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return ExitCode.BROKEN_PIPE


def _write(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
