"""`sluice pool …`: agents that share work, their rules and their tokens."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typing_extensions import override

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.groups import CommandGroup, new_group
from sluice.cli.labels import changed_labels, label_words
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, organization_of
from sluice.cli.token_list import ExpiresInDays, one_token, show_tokens
from sluice.client.api import Api
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import Pool, PoolInput, PoolPatch


class _TokenGroup(CommandGroup):
    """`sluice pool token POOL` makes a token, as `sluice pool token create POOL` does."""

    @override
    def alone(self) -> Any:
        return self.commands["create"]

    @override
    def means_alone(self, args: list[str]) -> bool:
        return bool(args) and not self.names(args[0])


app = new_group("Agent pools and their tokens.")
token_app = new_group("Tokens with which agents register in a pool.", _TokenGroup)
app.add_typer(token_app, name="token")

PoolName = Annotated[
    str, typer.Argument(metavar="POOL", help="Name or id of the pool.")
]


@dataclass(frozen=True, slots=True)
class PoolRules:
    """The rules a pool has; what is not given stays as it is."""

    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="A label; may be repeated."),
    ] = None
    plans: Annotated[
        int | None,
        typer.Option("--plans", help="Plans one agent runs at once.", min=1, max=100),
    ] = None
    apply_concurrent: Annotated[
        bool | None,
        typer.Option(
            "--apply-concurrent/--apply-alone",
            help="Whether an agent begins other work beside an apply.",
        ),
    ] = None
    adaptive: Annotated[
        bool | None,
        typer.Option(
            "--adaptive/--no-adaptive",
            help="Agents run fewer plans while their machine is busy.",
        ),
    ] = None
    cpu_threshold: Annotated[
        float | None,
        typer.Option(
            "--cpu-threshold", metavar="SHARE", help="Busy above this, 0 to 1."
        ),
    ] = None
    mem_threshold: Annotated[
        float | None,
        typer.Option(
            "--mem-threshold", metavar="SHARE", help="Busy above this, 0 to 1."
        ),
    ] = None

    def given(self, *, no_labels: bool = False) -> dict[str, Any]:
        """The rules that were given, by their names in the API."""
        named = {
            "labels": changed_labels(self.label, none=no_labels),
            "max_plan_concurrency": self.plans,
            "allow_apply_concurrent": self.apply_concurrent,
            "adaptive_concurrency": self.adaptive,
            "cpu_threshold": self.cpu_threshold,
            "mem_threshold": self.mem_threshold,
        }
        return {name: value for name, value in named.items() if value is not None}


@app.command("list")
@takes_records
def list_pools(*, where: InOrganization, session: Session) -> None:
    """List the pools of an organization."""
    found = session.api.pools.list(organization_of(session, where).id)
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
            [item.name, _plans(item), label_words(item.labels), item.id]
            for item in found
        ],
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    rules: PoolRules,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a new pool."""
    body = PoolInput(name=name, **rules.given())
    created = session.api.pools.create(organization_of(session, where).id, body)
    if session.json:
        session.console.json(created)
        return
    session.console.good(f"Created pool {created.name} ({created.id}).")
    session.console.hint(
        f"`sluice pool token {created.name}` makes the token its agents register with."
    )


@app.command("show")
@takes_records
def show(pool: PoolName, *, where: InOrganization, session: Session) -> None:
    """Show a pool's rules and its agents."""
    organization_id = organization_of(session, where).id
    found = find_pool(session.api, organization_id, pool)
    if session.json:
        session.console.json(found)
        return
    agents = [
        f"{agent.name} ({agent.state})"
        for agent in session.api.agents.list(organization_id)
        if agent.pool_id == found.id
    ]
    session.console.facts(
        [
            ("Name", found.name),
            ("Id", found.id),
            ("Labels", label_words(found.labels)),
            ("Plans at once", _plans(found)),
            (
                "Beside an apply",
                "other work too" if found.allow_apply_concurrent else "nothing",
            ),
            ("Agents", ", ".join(agents) or "none"),
            ("Created", words.ago(found.created_at, session.clock.now())),
        ]
    )


@app.command("update")
@takes_records
def update(
    pool: PoolName,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="A new name.", show_default=False)
    ] = None,
    rules: PoolRules,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Take all labels away.")
    ] = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Change a pool's rules; what is not given stays, labels are replaced together."""
    values = rules.given(no_labels=no_labels)
    if name is not None:
        values["name"] = name
    if not values:
        raise InvalidInputError("Nothing to change was given; see --help.")
    found = find_pool(session.api, organization_of(session, where).id, pool)
    changed = session.api.pools.update(found.id, PoolPatch(**values))
    if session.json:
        session.console.json(changed)
        return
    session.console.good(f"Changed pool {changed.name}.")


@app.command("delete")
@takes_records
def delete(pool: PoolName, *, where: InOrganization, session: Session) -> None:
    """Remove a pool that nothing names, with its tokens and its offline agents."""
    found = find_pool(session.api, organization_of(session, where).id, pool)
    session.api.pools.delete(found.id)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Removed pool {found.name}.")


# --- tokens ----------------------------------------------------------------------


@token_app.command("create")
@takes_records
def create_token(
    pool: PoolName,
    *,
    name: Annotated[
        str, typer.Option("--name", help="What the token is called in lists.")
    ] = "cli",
    expires_in_days: ExpiresInDays = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a token with which agents register in a pool; it is shown this once."""
    found = find_pool(session.api, organization_of(session, where).id, pool)
    body = TokenInput(name=name, expires_in_days=expires_in_days)
    created = session.api.pools.create_token(found.id, body)
    if session.json:
        session.console.json(created)
        return
    session.console.line(created.token)
    session.console.hint(
        f"Start an agent with it: SLUICE_POOL_TOKEN=… sluice agent --url {session.settings.url}"
    )


@token_app.command("list")
@takes_records
def list_tokens(pool: PoolName, *, where: InOrganization, session: Session) -> None:
    """List a pool's tokens; what they are is never shown again."""
    found = find_pool(session.api, organization_of(session, where).id, pool)
    show_tokens(session, session.api.pools.tokens(found.id))


@token_app.command("revoke")
@takes_records
def revoke_token(
    pool: PoolName,
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="Name or id of the token.")
    ],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """End a pool's token for good; agents that registered with it go on."""
    found = find_pool(session.api, organization_of(session, where).id, pool)
    none = (
        f"The pool {found.name} has no token {token!r}; "
        f"`sluice pool token list {found.name}` shows those there are."
    )
    ended = one_token(session.api.pools.tokens(found.id), token, none=none)
    session.api.pools.revoke_token(found.id, ended.id)
    if session.json:
        session.console.json({"id": ended.id, "revoked": True})
        return
    session.console.good(f"Revoked token {ended.name} ({ended.id}) of {found.name}.")


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


def _plans(pool: Pool) -> str:
    """``3``, or ``up to 3, fewer above 85 % CPU or 85 % memory``."""
    if not pool.adaptive_concurrency:
        return str(pool.max_plan_concurrency)
    return (
        f"up to {pool.max_plan_concurrency}, fewer above {pool.cpu_threshold:.0%} CPU"
        f" or {pool.mem_threshold:.0%} memory"
    )
