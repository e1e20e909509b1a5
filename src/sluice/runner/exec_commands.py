"""The `sluice exec` command."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from sluice.base.errors import InvalidInputError
from sluice.runner.exec_run import Asked, run_exec
from sluice.runner.exec_settings import Loaded, load_exec_settings

# so that what stands behind the script's name is the script's
_OPTIONS = {
    "help_option_names": ["-h", "--help"],
    "allow_interspersed_args": False,
}

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("exec", context_settings=_OPTIONS)
def exec_(  # noqa: PLR0913 - one parameter an option
    *,
    script: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT", help="The script and its arguments, behind `--`."
        ),
    ] = None,
    task_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The task that it is, one of your choice (SLUICE_TASK_ID); each is"
            " run once.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What to call it; its file's name by default."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of the server (SLUICE_URL)."),
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose task it is, where there are several (SLUICE_ORGANIZATION).",
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Lowest level that is shown live: DEBUG, INFO, WARN or ERROR"
            " (SLUICE_LOG_LEVEL).",
        ),
    ] = None,
    disable_log_streaming: Annotated[
        bool,
        typer.Option(
            "--disable-log-streaming",
            help="Send begin and end only, not the output.",
        ),
    ] = False,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIABLE",
            help="Mask the value of this environment variable in what is sent"
            " (SLUICE_LOG_MASK); may be repeated.",
        ),
    ] = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to run it; made if it is not there."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Seconds after which it is stopped; 0 for never."
        ),
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Seconds to wait for undelivered output at the end"
            " (SLUICE_DRAIN_TIMEOUT).",
        ),
    ] = None,
    deliver_from: Annotated[
        Path | None,
        typer.Option(
            "--deliver",
            metavar="DIR",
            help="Run nothing: deliver what is left in this directory.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say how the delivery goes.")
    ] = False,
) -> None:
    """Run a script as a task: its output is printed here and sent to the server.

    It ends with the script's own exit code, whatever becomes of the server: what cannot
    be sent is kept, and `sluice exec --deliver` sends it later. Signals are passed on to
    the script.
    """
    given = {
        "task_id": task_id,
        "url": url,
        "organization": organization,
        "log_level": log_level,
        "log_streaming_enabled": False if disable_log_streaming else None,
        "log_mask": mask,
        "drain_timeout": drain_timeout,
    }
    loaded = _settings(given)
    if deliver_from is not None:
        _deliver(deliver_from, loaded, log_level="info" if verbose else "error")
        return
    if not script:
        raise InvalidInputError(
            "There is nothing to run; put the script behind the options: sluice exec"
            " --task-id ID -- ./script.sh"
        )
    asked = Asked(
        argv=script,
        name=name or "",
        directory=_made(work_dir),
        timeout=timeout or None,
        own_log="info" if verbose else "error",
    )
    raise typer.Exit(asyncio.run(run_exec(asked, loaded)))


def _settings(given: dict[str, Any]) -> Loaded:
    try:
        return load_exec_settings(given)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        option = str(fault["loc"][0]).replace("_", "-")
        said = fault["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"--{option} cannot be taken: {said}.") from None


def _deliver(path: Path, loaded: Loaded, *, log_level: str) -> None:
    # a script that only runs here does without all of this
    from sluice.runner.exec_deliver import deliver
    from sluice.runner.own_log import configure_logging

    configure_logging(log_level)
    for problem in loaded.problems:
        typer.echo(f"sluice: {problem}", err=True)
    for task_id in asyncio.run(deliver(path, loaded.settings)):
        typer.echo(f"Delivered {task_id}.")


def _made(directory: Path | None) -> Path | None:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    return directory
