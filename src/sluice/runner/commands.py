"""The `sluice agent` command."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from sluice.runner.agent import Agent
from sluice.runner.own_log import configure_logging
from sluice.runner.settings import AgentSettings, load_settings


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
