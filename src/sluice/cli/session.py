"""What every command has: a console, the common options, and a client that is made when needed."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import typer

from sluice.base.clock import Clock, SystemClock
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
)
from sluice.cli.console import Console, whole_writes
from sluice.cli.settings import CliSettings, ColorMode, cli_settings
from sluice.client.api import Api
from sluice.client.settings import ClientSettings, client_settings
from sluice.wire.shapes.people import Organization
from sluice.wire.shapes.workspaces import Workspace

_WORKSPACE_ID = re.compile(r"ws-[1-9A-HJ-NP-Za-km-z]{16}")


@dataclass(frozen=True)
class Session:
    """The common options of a command line, and what follows from them."""

    json: Annotated[
        bool, typer.Option("--json", help="Write JSON: one document, or one a line.")
    ] = False
    color: Annotated[
        ColorMode,
        typer.Option("--color", help="Colours in what is written."),
    ] = "auto"
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="The server, instead of the one signed in to."
        ),
    ] = None

    @cached_property
    def cli(self) -> CliSettings:
        """The command's own settings."""
        return cli_settings()

    @cached_property
    def settings(self) -> ClientSettings:
        """Where requests go, and as whom."""
        return client_settings(url=self.url)

    @cached_property
    def console(self) -> Console:
        """Where words go."""
        return Console(
            whole_writes(sys.stdout), sys.stderr, settings=self.cli, color=self.color
        )

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock."""
        return SystemClock()

    @cached_property
    def api(self) -> Api:
        """A client with a token.

        Raises:
            UnauthorizedError: nobody has signed in to this server here.
        """
        if self.settings.token is None:
            raise UnauthorizedError(
                f"Not signed in to {self.settings.url}; run `sluice login` or set SLUICE_TOKEN."
            )
        return quiet_api(self.settings.url, self.settings.token)


def quiet_api(url: str, token: str | None, *, attempts: int = 5) -> Api:
    """A client whose retries write nothing to the terminal."""
    import stamina.instrumentation

    stamina.instrumentation.set_on_retry_hooks([])
    return Api(url, token, attempts=attempts)


@dataclass(frozen=True, slots=True)
class InOrganization:
    """The option that names an organization."""

    organization: Annotated[
        str | None,
        typer.Option(
            "--organization",
            metavar="NAME",
            help="The organization, where there are several (SLUICE_ORGANIZATION).",
        ),
    ] = None


@contextmanager
def force_is_an_option() -> Iterator[None]:
    """Where the server names its parameter ``force=true``, name the option instead."""
    try:
        yield
    except ConflictError as error:
        error.detail = error.detail.replace("force=true", "--force")
        raise


def find_organization(api: Api, wanted: str | None) -> Organization:
    """The organization with this name or id; the only one where none is wanted.

    Raises:
        NotFoundError: there is none of this name.
        InvalidInputError: there are several and none is wanted.
    """
    known = api.organizations.list()
    if wanted:
        for organization in known:
            if wanted in {organization.name, organization.id}:
                return organization
        raise NotFoundError(
            f"There is no organization {wanted!r}; there is {_names(known)}."
        )
    if len(known) == 1:
        return known[0]
    if not known:
        raise NotFoundError("The server has no organization you may see.")
    raise InvalidInputError(
        f"There are several organizations ({_names(known)}); say which with --organization."
    )


def organization_of(session: Session, where: InOrganization) -> Organization:
    """The organization a command is about: by its option, else by the settings.

    Raises:
        NotFoundError: there is none of this name.
        InvalidInputError: there are several and none is named.
    """
    return find_organization(session.api, wanted_organization(session, where))


def wanted_organization(session: Session, where: InOrganization) -> str | None:
    """Name or id of the organization that was asked for, if any was."""
    return where.organization or session.cli.organization


def find_workspace(api: Api, wanted: str, *, organization: str | None) -> Workspace:
    """The workspace with this name or id.

    Raises:
        NotFoundError: there is none.
    """
    if _WORKSPACE_ID.fullmatch(wanted):
        return api.workspaces.get(wanted)
    owner = find_organization(api, organization)
    found = api.workspaces.list(owner.id, name=wanted)
    if found:
        return found[0]
    raise NotFoundError(
        f"There is no workspace {wanted!r} in {owner.name}; "
        "`sluice workspace list` shows those there are."
    )


def _names(organizations: list[Organization]) -> str:
    return ", ".join(item.name for item in organizations) or "none"
