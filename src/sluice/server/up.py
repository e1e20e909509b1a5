"""`sluice up`: a server in this process, an agent beside it, and perhaps one apply.

Stopping: (1) the agent takes no more work and finishes what runs, with the server still
taking its output; (2) the server stops. A second signal makes the agent leave at once:
terraform goes on by itself and the next `sluice up` takes it up.
"""

import asyncio
import functools
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from sluice.agents.actions import list_agents
from sluice.base.errors import SluiceError
from sluice.cli.exit_codes import ExitCode, code_of_error
from sluice.cli.flows import RunOptions, apply_directory
from sluice.client.api import Api
from sluice.server.agent_child import AgentChild, AgentPlace
from sluice.server.embedded import (
    ORGANIZATION,
    ensure_pool,
    local_token,
    renew_agent_token,
)
from sluice.server.first_start import show_setup_token
from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings
from sluice.server.signals import Signals, handled_signals
from sluice.wire.shapes.pools import AgentState

AGENT_NAME = "up"
AGENT_SECONDS = 15.0
AGENT_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What to do besides serving; ``ask`` before the apply."""

    apply: Path | None = None
    once: bool = False
    ask: bool = False


async def run_up(settings: ServerSettings, options: UpOptions) -> int:
    """Run until a signal, or until the apply has ended where it is `once`; the exit code.

    Raises:
        SluiceError: it cannot start.
    """
    with handled_signals() as signals:
        async with serving(settings) as server:
            _say(f"Sluice runs at {server.url}; its data is in {settings.data_dir}.")
            if server.setup_token is not None and not options.once:
                show_setup_token(sys.stderr, url=server.url, token=server.setup_token)
            agent = AgentChild(await _agent_place(server))
            async with asyncio.TaskGroup() as group:
                running = group.create_task(agent.run(), name="agent")
                code = await _until_end(server, options, signals)
                await _stop(agent, running, signals)
            return code


async def _agent_place(server: Serving) -> AgentPlace:
    pool = await ensure_pool(server.concepts)
    data_dir = server.parts.settings.data_dir.absolute()
    log_file = data_dir / "agent.log"
    log_file.write_bytes(b"")
    return AgentPlace(
        url=_own_url(server),
        pool_token=await renew_agent_token(server.concepts, pool),
        name=AGENT_NAME,
        data_dir=data_dir / "agent",
        log_file=log_file,
    )


def _own_url(server: Serving) -> str:
    """The address on this machine, whatever people use."""
    settings = server.parts.settings.model_copy(
        update={"public_url": "", "port": server.port}
    )
    return settings.resolved_public_url


async def _until_end(server: Serving, options: UpOptions, signals: Signals) -> int:
    if options.apply is None:
        await signals.end.wait()
        return ExitCode.OK
    stop = threading.Event()
    await _until_agent(server, signals)
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_set_on_signal(stop, signals))
        code = await asyncio.to_thread(
            _apply, _own_url(server), local_token(server.parts), options, stop
        )
        watcher.cancel()
    if options.once or signals.end.is_set():
        return code
    _say(f"Sluice goes on serving at {server.url}; Ctrl-C ends it.")
    await signals.end.wait()
    return ExitCode.OK


async def _until_agent(server: Serving, signals: Signals) -> None:
    """Wait for the agent for a while, so that the task need not explain why it waits."""
    clock = server.parts.clock
    until = clock.monotonic() + AGENT_SECONDS
    while clock.monotonic() < until and not signals.end.is_set():
        found = await list_agents(server.concepts.agents, organization=ORGANIZATION)
        if any(seen.state is not AgentState.OFFLINE for seen in found):
            return
        await asyncio.sleep(AGENT_LOOK_SECONDS)


async def _set_on_signal(stop: threading.Event, signals: Signals) -> None:
    await signals.end.wait()
    stop.set()


def _apply(url: str, token: str, options: UpOptions, stop: threading.Event) -> int:
    if options.apply is None:
        return ExitCode.OK
    run = RunOptions(auto_approve=not options.ask, stop=stop)
    try:
        with Api(url, token) as api:
            return apply_directory(api, options.apply, options=run)
    except SluiceError as error:
        _say(f"error: {error.detail}")
        return code_of_error(error)


async def _stop(
    agent: AgentChild, running: asyncio.Task[None], signals: Signals
) -> None:
    agent.stop()
    done, _ = await asyncio.wait([running], timeout=1.0)
    if not done:
        _say("Waiting for what runs to end; Ctrl-C again leaves it to the next start.")
    hurry = functools.partial(_hurry, agent, signals)
    async with asyncio.TaskGroup() as group:
        hurrying = group.create_task(hurry())
        await asyncio.wait([running])
        hurrying.cancel()


async def _hurry(agent: AgentChild, signals: Signals) -> None:
    await signals.end_now.wait()
    agent.hurry.set()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
