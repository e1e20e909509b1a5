"""What the commands of notifications share: whose they are, naming one, and their fields."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typing_extensions import override

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    organization_of,
    wanted_organization,
)
from sluice.cli.settings import secret_of_variable
from sluice.wire.notification import Trigger
from sluice.wire.shapes.notifications import Notification

NotificationName = Annotated[
    str, typer.Argument(metavar="NOTIFICATION", help="Its name, or its id.")
]
OfWorkspace = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        metavar="NAME",
        help="Of this workspace; without, of the organization, for all its workspaces.",
    ),
]


@dataclass(frozen=True, slots=True)
class NotificationFields:
    """The fields of a notification; what is not given stays as it is."""

    on: Annotated[
        list[Trigger] | None,
        typer.Option(
            "--on",
            metavar="TRIGGER",
            help="What is told, such as task:errored or task:needs_attention; may be"
            " repeated. By default what needs somebody, and how tasks end.",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", help="Where it is sent."),
    ] = None
    endpoint_env: Annotated[
        str | None,
        typer.Option(
            "--endpoint-env",
            metavar="NAME",
            help="Send it to the URL in this environment variable.",
        ),
    ] = None
    secret_env: Annotated[
        str | None,
        typer.Option(
            "--secret-env",
            metavar="NAME",
            help="Sign webhooks with the secret in this environment variable.",
        ),
    ] = None
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="ADDRESS", help="An e-mail address; may be repeated."
        ),
    ] = None
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            metavar="NAME",
            help="A member of the organization, by e-mail; may be repeated.",
        ),
    ] = None
    enabled: Annotated[
        bool | None,
        typer.Option("--enabled/--disabled", help="Whether anything is sent."),
    ] = None

    def given(self) -> dict[str, Any]:
        """The fields that were given, by their names in the API.

        Raises:
            InvalidInputError: a variable is not set, or two were given for one.
        """
        if self.endpoint is not None and self.endpoint_env is not None:
            raise InvalidInputError("Give --endpoint or --endpoint-env, not both.")
        endpoint = self.endpoint
        if self.endpoint_env is not None:
            endpoint = secret_of_variable(self.endpoint_env)
        secret = None
        if self.secret_env is not None:
            secret = secret_of_variable(self.secret_env)
        named = {
            "triggers": self.on or None,
            "endpoint_url": endpoint,
            "secret": secret,
            "recipients": self.to or None,
            "users": self.user or None,
            "enabled": self.enabled,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class NotificationChanges(NotificationFields):
    """What of a notification is to change, or to be taken away."""

    name: Annotated[
        str | None, typer.Option("--name", help="A new name.", show_default=False)
    ] = None
    no_secret: Annotated[
        bool, typer.Option("--no-secret", help="Do not sign webhooks any more.")
    ] = False

    @override
    def given(self) -> dict[str, Any]:
        """What was given, by its names in the API.

        Raises:
            InvalidInputError: a variable is not set, nothing was given, or something and
                its removal.
        """
        # a dataclass with slots is made anew, which `super()` alone would not know
        given = NotificationFields.given(self)
        if self.no_secret and "secret" in given:
            raise InvalidInputError("Give a secret, or --no-secret, not both.")
        given |= {"secret": ""} if self.no_secret else {}
        given |= {"name": self.name} if self.name is not None else {}
        if not given:
            raise InvalidInputError("Nothing to change was given; see --help.")
        return given


def notifications_of(
    session: Session, workspace: str | None, where: InOrganization
) -> list[Notification]:
    """Those of the workspace, or of the organization where none is named."""
    if workspace is None:
        owner = organization_of(session, where)
        return session.api.notifications.of_organization(owner.id)
    organization = wanted_organization(session, where)
    found = find_workspace(session.api, workspace, organization=organization)
    return session.api.notifications.of_workspace(found.id)


def find_notification(
    session: Session, wanted: str, workspace: str | None, where: InOrganization
) -> Notification:
    """The notification of this id, or of this name there.

    Raises:
        NotFoundError: there is none.
    """
    if wanted.startswith("ntf-"):
        return session.api.notifications.get(wanted)
    found = notifications_of(session, workspace, where)
    for notification in found:
        if notification.name == wanted:
            return notification
    names = ", ".join(notification.name for notification in found)
    known = f"there is {names}" if names else "`sluice notification create` makes one"
    hint = "" if workspace else "; --workspace names a workspace's own"
    raise NotFoundError(f"There is no notification {wanted!r}; {known}{hint}.")
