"""The commands `sluice server`, `sluice up` and `sluice db`; each imports what it needs."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sluice.base.errors import SluiceError
from sluice.db.engine import open_database
from sluice.db.migrate import Half, pending, upgrade
from sluice.edge.logging import LogFormat, configure_logging
from sluice.server.first_start import show_setup_token
from sluice.server.settings import ServerSettings, load_settings
from sluice.server.signals import handled_signals

PRIVATE = 0o077
"""Files of the server are for its own user alone."""

Result = TypeVar("Result")
Config = Annotated[
    Path | None, typer.Option(help="TOML file of settings (SLUICE_CONFIG).")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on (SLUICE_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (SLUICE_PORT).")]

db = typer.Typer(no_args_is_help=True, help="Upgrade the server's database.")


def server(
    host: Host = None,
    port: Port = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The server's directory (SLUICE_DATA_DIR).")
    ] = None,
    config: Config = None,
) -> None:
    """Run a server.

    All settings come from SLUICE_* variables or the TOML file. The first start prints a
    one-time token for the first admin. SIGTERM lets open requests end.
    """
    settings = load_settings(
        {"host": host, "port": port, "data_dir": data_dir}, config=config
    )
    configure_logging(settings.log_format, settings.log_level)
    os.umask(PRIVATE)
    run_loop(_serve(settings))


async def _serve(settings: ServerSettings) -> None:
    from sluice.server.serving import serving

    with handled_signals() as signals:
        async with serving(settings) as running:
            if running.setup_token is not None:
                show_setup_token(sys.stderr, url=running.url, token=running.setup_token)
            await signals.end.wait()


def up(
    *,
    apply: Annotated[
        Path | None,
        typer.Option(help="Plan and apply this directory, live, once it runs."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End with the apply's exit code.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask before the apply instead of going on.")
    ] = False,
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(
        ".sluice"
    ),
    host: Host = None,
    port: Port = None,
) -> None:
    """Run a server and an agent together, with nothing to set up.

    Logs go to server.log and agent.log in the data directory. Ctrl-C lets what runs end
    first; a second one leaves it to the next start.
    """
    settings = load_settings(
        {"host": host, "port": port, "data_dir": data_dir.absolute()}
    )
    raise typer.Exit(_up(settings, apply=apply, once=once, ask=ask))


def _up(settings: ServerSettings, *, apply: Path | None, once: bool, ask: bool) -> int:
    from sluice.server.up import UpOptions, run_up

    os.umask(PRIVATE)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "server.log").open("w") as log:
        log_format = settings.log_format
        if log_format is LogFormat.AUTO:
            log_format = LogFormat.CONSOLE
        configure_logging(log_format, settings.log_level, out=log)
        return run_loop(run_up(settings, UpOptions(apply=apply, once=once, ask=ask)))


@db.callback()
def _db() -> None:
    """Upgrade the server's database."""


@db.command("upgrade")
def upgrade_command(
    *,
    only: Annotated[
        Half | None,
        typer.Option(
            help="`expand` before a deployment, `contract` after it; both by default."
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Bring the database to the shape that this version needs."""
    settings = _prepared(config)
    done = run_loop(upgrade(settings.resolved_database_url, only))
    for name in done:
        typer.echo(f"ran {name}")
    typer.echo("The database is up to date." if not done else "Done.")


@db.command("status")
def status_command(config: Config = None) -> None:
    """Show which migrations have not run; exit code 1 where there are any."""
    settings = _prepared(config)
    missing = run_loop(_pending(settings.resolved_database_url))
    for name in missing:
        typer.echo(f"missing {name}")
    if missing:
        raise typer.Exit(1)
    typer.echo("The database is up to date.")


def _prepared(config: Path | None) -> ServerSettings:
    settings = load_settings(config=config)
    configure_logging(settings.log_format, "warning")
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return settings


async def _pending(url: str) -> list[str]:
    database = open_database(url, pool_size=1)
    try:
        return await pending(database)
    finally:
        await database.close()


def run_loop(work: Coroutine[None, None, Result]) -> Result:
    """Run ``work`` on uvloop where that is installed.

    Raises:
        SluiceError: also where a TaskGroup had wrapped it.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(work)
        except BaseExceptionGroup as group:
            raise _sole_cause(group) from group


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def _sole_cause(error: BaseException) -> BaseException:
    """The one named error inside nested groups; the group itself where there are more."""
    inner = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, SluiceError) else error
