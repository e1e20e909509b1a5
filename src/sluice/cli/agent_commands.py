"""`sluice agent …` beside running one: list, status, drain, resume, remove."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typing_extensions import override

from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.cli import ansi, words
from sluice.cli.agent_status import LocalStatus, local_status, tree_lines
from sluice.cli.groups import CommandGroup, new_group
from sluice.cli.labels import label_words
from sluice.cli.lazy import load_brought
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, organization_of
from sluice.cli.settings import agent_data_directory
from sluice.wire.shapes.pools import Agent, AgentDetails, AgentState

_HELP = "Look after agents; or, where no command is named, run one on this machine."


class _AgentGroup(CommandGroup):
    """`sluice agent` runs one: the command that the agent's own package brings."""

    @override
    def alone(self) -> Any:
        return load_brought("agent")

    @override
    def means_alone(self, args: list[str]) -> bool:
        return not args or (args[0].startswith("-") and not self.names(args[0]))

    @override
    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What running one does stands in the group's help too."""
        super().format_help_text(ctx, formatter)
        command = self._installed()
        if command is not None:
            command.format_help_text(ctx, formatter)

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        """And so do its options."""
        command = self._installed()
        if command is None:
            super().format_options(ctx, formatter)
            return
        records = [param.get_help_record(ctx) for param in command.get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record])
        self.format_commands(ctx, formatter)

    def _installed(self) -> Any:
        try:
            return self.alone()
        except InvalidInputError:
            return None


app = new_group(_HELP, _AgentGroup)

AgentName = Annotated[
    str, typer.Argument(metavar="AGENT", help="Name or id of the agent.")
]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; shown to others.", show_default=False)
]


@app.command("list")
@takes_records
def list_agents(*, where: InOrganization, session: Session) -> None:
    """List agents and what they do now."""
    found = session.api.agents.list(organization_of(session, where).id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "No agent has registered yet; `sluice pool token POOL` makes a token to start one with."
        )
        return
    now = session.clock.now()
    session.console.table(
        ["NAME", "POOL", "STATE", "PLANS", "APPLY", "CPU", "MEMORY", "SEEN", "VERSION"],
        [
            [
                item.name,
                item.pool_name,
                item.state,
                *load_of(item),
                words.ago(item.last_seen_at, now),
                item.version,
            ]
            for item in found
        ],
    )
    for item in found:
        if item.advice:
            session.console.warn(f"{item.name}: {item.advice}")


@app.command("status")
@takes_records
def status(
    agent: Annotated[
        str | None,
        typer.Argument(
            metavar="AGENT", help="Name or id; without one, this machine's agent."
        ),
    ] = None,
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Where this machine's agent keeps its data (SLUICE_AGENT_DATA_DIR).",
        ),
    ] = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Show what each loop of an agent is doing now.

    Without AGENT it reads what this machine's agent wrote to its own disk, which needs no
    server; where there is none, it asks the server.
    """
    if agent is None:
        here = local_status(data_dir or agent_data_directory())
        if here is not None:
            _show_local(session, here)
            return
        if data_dir is not None:
            raise NotFoundError(f"No agent has written a status in {data_dir}.")
    found = _find(session, where, agent)
    details = session.api.agents.get(found.id)
    if session.json:
        session.console.json(details)
        return
    session.console.facts(_facts(details, session))
    _show_tree(session, details.loops)


@app.command("drain")
@takes_records
def drain(
    agent: AgentName, *, reason: Reason = "", where: InOrganization, session: Session
) -> None:
    """Have an agent take no more work until it is resumed; what it runs goes on."""
    asked = session.api.agents.drain(_find(session, where, agent).id, reason)
    if session.json:
        session.console.json(asked)
        return
    running = (
        f" It goes on with {', '.join(asked.current_tasks)}."
        if asked.current_tasks and asked.state is not AgentState.OFFLINE
        else ""
    )
    session.console.good(f"{asked.name} takes no more work.{running}")


@app.command("resume")
@takes_records
def resume(
    agent: AgentName, *, reason: Reason = "", where: InOrganization, session: Session
) -> None:
    """Have an agent take work again."""
    asked = session.api.agents.resume(_find(session, where, agent).id, reason)
    if session.json:
        session.console.json(asked)
        return
    session.console.good(f"{asked.name} takes work again.")


@app.command("remove")
@takes_records
def remove(agent: AgentName, *, where: InOrganization, session: Session) -> None:
    """Forget an agent that is offline and holds nothing."""
    found = _find(session, where, agent)
    session.api.agents.remove(found.id)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Removed agent {found.name} ({found.id}).")


def load_of(agent: Agent) -> list[str]:
    """Plans, apply, CPU and memory; nobody knows those of an agent that is away."""
    if agent.state is AgentState.OFFLINE:
        return ["-"] * 4
    return [
        f"{agent.plan_running_count}/{agent.plan_limit}",
        "yes" if agent.apply_running else "-",
        f"{agent.cpu_usage:.0%}",
        f"{agent.mem_usage:.0%}",
    ]


def _find(session: Session, where: InOrganization, wanted: str | None) -> Agent:
    """The agent of this name or id; the only one where none is named."""
    known = session.api.agents.list(organization_of(session, where).id)
    by_id = [item for item in known if item.id == wanted]
    found = by_id or [item for item in known if wanted in {None, item.name}]
    if len(found) == 1:
        return found[0]
    if not known:
        raise NotFoundError("No agent has registered yet.")
    if not found:
        names = ", ".join(sorted({item.name for item in known}))
        raise NotFoundError(f"There is no agent {wanted!r}; there is {names}.")
    if wanted is None:
        names = ", ".join(sorted({item.name for item in known}))
        raise InvalidInputError(f"There are several agents; say which: {names}.")
    ids = ", ".join(f"{item.id} ({item.state})" for item in found)
    raise ConflictError(
        f"{len(found)} agents are called {wanted!r}; give an id: {ids}."
    )


def _facts(agent: AgentDetails, session: Session) -> list[tuple[str, str]]:
    now = session.clock.now()
    plans, apply, cpu, memory = load_of(agent)
    seen = words.ago(agent.last_seen_at, now)
    offline = agent.unreachable_since is not None
    facts = [
        ("Agent", f"{agent.name} ({agent.id})"),
        ("Pool", agent.pool_name),
        ("State", f"unreachable since {seen}" if offline else agent.state),
        ("Version", agent.version),
        ("Labels", label_words(agent.labels)),
        ("Seen", seen),
        ("Load", f"plans {plans}, apply {apply}, CPU {cpu}, memory {memory}"),
        ("Tasks", ", ".join(agent.current_tasks) or "none"),
    ]
    if agent.drain is not None:
        reason = f": {agent.drain.reason}" if agent.drain.reason else ""
        asked = words.ago(agent.drain.at, now)
        facts.append(("Draining", f"by {agent.drain.by}, {asked}{reason}"))
    if agent.advice:
        facts.append(("Advice", agent.advice))
    return facts


def _show_local(session: Session, told: LocalStatus) -> None:
    if session.json:
        session.console.json(told)
        return
    written = words.ago(told.written_at, session.clock.now())
    if not told.running:
        session.console.warn(
            f"The agent is not running; this is what it wrote last, {written}."
        )
    facts = [
        ("Agent", f"{told.name} ({told.agent_id or 'not registered yet'})"),
        ("Server", told.url),
        ("State", f"running, pid {told.pid}" if told.running else "not running"),
        ("Written", written),
    ]
    facts += [
        (name, text)
        for name, text in (("Draining", told.draining), ("Advice", told.advice))
        if text
    ]
    session.console.facts(facts)
    _show_tree(session, told.loops)


def _show_tree(session: Session, loops: dict[str, Any]) -> None:
    unicode = session.console.symbol("y", "") == "y"
    for line in tree_lines(loops, session.clock.now(), unicode=unicode):
        session.console.line(ansi.plain(line))
