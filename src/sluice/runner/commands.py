"""The `sluice agent` command."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from sluice.runner.agent import Agent
from sluice.runner.settings import AgentSettings, load_settings

_QUIET = ("websockets", "httpx2", "httpcore2", "asyncio")


def agent(
    url: Annotated[
        str | None, typer.Option(help="Address of the server (SLUICE_URL).")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name on the agents page (SLUICE_AGENT_NAME)."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The agent's own directory (SLUICE_AGENT_DATA_DIR)."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file (SLUICE_AGENT_CONFIG).")
    ] = None,
) -> None:
    """Run an agent: pull tasks of a pool and run them on this machine.

    The pool's token comes from SLUICE_POOL_TOKEN or the TOML file. SIGTERM drains:
    nothing more is pulled, and the agent ends when what runs is done. A second SIGTERM,
    or Ctrl-C, ends it at once; terraform goes on by itself, and the next start reports it.
    """
    settings = load_settings(
        {"url": url, "agent_name": name, "agent_data_dir": data_dir}, config=config
    )
    configure_logging(settings.agent_log_level)
    asyncio.run(_run(settings))


async def _run(settings: AgentSettings) -> None:
    program = Agent(settings)
    with program.signals():
        await program.run()


def configure_logging(level: str) -> None:
    """Log to stderr: coloured lines on a terminal, JSON otherwise."""
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
