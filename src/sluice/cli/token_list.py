"""What the commands of API tokens and of pool tokens share: a table, an option, a search."""

from collections.abc import Sequence
from typing import Annotated

import typer

from sluice.base.errors import ConflictError, NotFoundError
from sluice.cli import words
from sluice.cli.session import Session
from sluice.wire.shapes.people import TokenInfo, TokenScope

ExpiresInDays = Annotated[
    int | None,
    typer.Option(
        "--expires-in-days",
        metavar="DAYS",
        help="When it ends by itself; else never.",
        min=1,
        max=3650,
    ),
]


def show_tokens(
    session: Session, tokens: Sequence[TokenInfo], *, scopes: bool = False
) -> None:
    """Tokens as JSON or as a table; what they are is never shown again.

    Args:
        session: where to.
        tokens: what is known of them.
        scopes: whether tokens of this kind are narrowed.
    """
    if session.json:
        session.console.json(tokens)
        return
    now = session.clock.now()
    session.console.table(
        [
            *("NAME", "CREATED", "LAST USED", "EXPIRES"),
            *(["SCOPE"] if scopes else []),
            "ID",
        ],
        [
            [
                item.name,
                words.ago(item.created_at, now),
                words.ago(item.last_used_at, now),
                f"{item.expires_at:%Y-%m-%d}" if item.expires_at else "never",
                *([_scope(item.scope)] if scopes else []),
                item.id,
            ]
            for item in tokens
        ],
    )


def one_token(known: Sequence[TokenInfo], wanted: str, *, none: str) -> TokenInfo:
    """The token of this id, else the one of this name; ``none`` says that there is none.

    Raises:
        NotFoundError: there is none.
        ConflictError: several have the name.
    """
    by_id = [item for item in known if item.id == wanted]
    found = by_id or [item for item in known if item.name == wanted]
    if not found:
        raise NotFoundError(none)
    if len(found) > 1:
        ids = ", ".join(item.id for item in found)
        raise ConflictError(
            f"{len(found)} tokens are called {wanted!r}; give an id: {ids}."
        )
    return found[0]


def _scope(scope: TokenScope | None) -> str:
    """How far a token is narrowed, in one word or a few."""
    if scope is None:
        return "all"
    if scope.workspace_ids is not None:
        return f"{scope.level} in {', '.join(scope.workspace_ids)}"
    if scope.organization_id is not None:
        return f"{scope.level} in {scope.organization_id}"
    return scope.level
