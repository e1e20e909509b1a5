"""`sluice price-file …`: what resources cost a month."""

from pathlib import Path
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, organization_of
from sluice.wire.shapes.costs import PriceFile, PriceFileInput

app = new_group("The price file, by which plans are estimated.")


@app.command("set")
@takes_records
def set_prices(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="TOML; or JSON, where its name ends in .json."
        ),
    ],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """Keep an organization's price file; new tasks are estimated by it."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{file} is no text in UTF-8.") from None
    form = "json" if file.suffix.lower() == ".json" else "toml"
    owner = organization_of(session, where)
    body = PriceFileInput.model_validate({"content": text, "format": form})
    kept = session.api.prices.put(owner.id, body)
    if session.json:
        session.console.json(kept)
        return
    session.console.good(
        f"{owner.name} has {words.count(kept.price_count, 'price')} in {kept.currency};"
        " new tasks are estimated."
    )
    _warn_of_idle_limits(session, kept)


@app.command("show")
@takes_records
def show(*, where: InOrganization, session: Session) -> None:
    """Show an organization's price file as it was given."""
    found = session.api.prices.get(organization_of(session, where).id)
    if session.json:
        session.console.json(found)
        return
    text = found.content
    session.console.text(text)


@app.command("delete")
@takes_records
def delete(*, where: InOrganization, session: Session) -> None:
    """Forget an organization's price file; no new task is estimated."""
    owner = organization_of(session, where)
    session.api.prices.delete(owner.id)
    if session.json:
        session.console.json({"organization_id": owner.id, "deleted": True})
        return
    session.console.good(f"Removed the price file of {owner.name}.")


def _warn_of_idle_limits(session: Session, kept: PriceFile) -> None:
    limits = (kept.max_monthly_increase, kept.max_monthly_total)
    if kept.level == "mandatory" and limits == (None, None):
        session.console.warn(
            "The file is mandatory and has no limit; give max_monthly_increase or"
            " max_monthly_total, else no task is ever stopped."
        )
