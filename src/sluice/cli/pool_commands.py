"""`sluice pool …` and `sluice agents`: who does the work."""

from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, find_organization
from sluice.client.api import Api
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import Agent, AgentState, Pool, PoolInput

app = new_group("Agent pools and their tokens.")


@app.command("list")
@takes_records
def list_pools(*, where: InOrganization, session: Session) -> None:
    """List the pools of an organization."""
    found = session.api.pools.list(_organization_id(session, where))
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "There are no pools yet; `sluice pool create NAME` makes one."
        )
        return
    session.console.table(
        ["NAME", "PLANS AT ONCE", "LABELS", "ID"],
        [
            [item.name, str(item.max_plan_concurrency), _labels(item.labels), item.id]
            for item in found
        ],
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="A label; may be repeated."),
    ] = None,
    plans: Annotated[
        int,
        typer.Option("--plans", help="Plans one agent runs at once.", min=1, max=100),
    ] = 3,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a new pool."""
    body = PoolInput(
        name=name, labels=_parsed_labels(label or []), max_plan_concurrency=plans
    )
    created = session.api.pools.create(_organization_id(session, where), body)
    if session.json:
        session.console.json(created)
        return
    session.console.good(f"Created pool {created.name} ({created.id}).")
    session.console.hint(
        f"`sluice pool token {created.name}` makes the token its agents register with."
    )


@app.command("token")
@takes_records
def token(
    pool: Annotated[
        str, typer.Argument(metavar="POOL", help="Name or id of the pool.")
    ],
    *,
    name: Annotated[
        str, typer.Option("--name", help="What the token is called in lists.")
    ] = "cli",
    where: InOrganization,
    session: Session,
) -> None:
    """Make a token with which agents register in a pool; it is shown this once."""
    found = find_pool(session.api, _organization_id(session, where), pool)
    created = session.api.pools.create_token(found.id, TokenInput(name=name))
    if session.json:
        session.console.json(created)
        return
    session.console.line(created.token)
    session.console.hint(
        f"Start an agent with it: SLUICE_POOL_TOKEN=… sluice agent --url {session.settings.url}"
    )


@takes_records
def agents(*, where: InOrganization, session: Session) -> None:
    """List agents and what they do now."""
    found = session.api.agents.list(_organization_id(session, where))
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
        ["NAME", "STATE", "PLANS", "APPLY", "CPU", "MEMORY", "SEEN", "VERSION"],
        [
            [
                item.name,
                item.state,
                *load_of(item),
                words.ago(item.last_seen_at, now),
                item.version,
            ]
            for item in found
        ],
    )


def load_of(agent: Agent) -> list[str]:
    """Plans, apply, CPU and memory; nobody knows those of an agent that is away."""
    if agent.state is AgentState.OFFLINE:
        return ["-"] * 4
    return [
        f"{agent.plan_tasks_running}/{agent.plan_task_limit}",
        "yes" if agent.apply_task_running else "-",
        f"{agent.cpu_usage:.0%}",
        f"{agent.mem_usage:.0%}",
    ]


def find_pool(api: Api, organization_id: str, wanted: str) -> Pool:
    """The organization's pool of this name or id.

    Raises:
        NotFoundError: there is none.
    """
    known = api.pools.list(organization_id)
    for pool in known:
        if wanted in {pool.name, pool.id}:
            return pool
    names = ", ".join(pool.name for pool in known) or "none"
    raise NotFoundError(f"There is no pool {wanted!r}; there is {names}.")


def _organization_id(session: Session, where: InOrganization) -> str:
    wanted = where.organization or session.cli.organization
    return find_organization(session.api, wanted).id


def _parsed_labels(pairs: list[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidInputError(f"--label {pair!r}: write it as key=value.")
        labels[key] = value
    return labels


def _labels(labels: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"
