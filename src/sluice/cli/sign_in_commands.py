"""`sluice login`, `logout` and `whoami`."""

import getpass
import platform
import re
import sys
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, SluiceError
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    organization_of,
    quiet_api,
    wanted_organization,
)
from sluice.client.settings import (
    StoredServer,
    normalized_url,
    read_credentials,
    write_credentials,
)
from sluice.wire.shapes.people import Me, SetupInput
from sluice.wire.shapes.sign_in import TokenLoginInput

_SETUP = "sls_"


@takes_records
def login(
    *,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="An API token, or the one-time token of the server's first start; "
            "- reads it from stdin. Asked for where it is absent.",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="USER",
            help="Sign in with the password of this user (name or e-mail address), which is "
            "asked for, or read from stdin; a token of this machine's own is made.",
        ),
    ] = None,
    session: Session,
) -> None:
    """Sign in to a server and remember its token on this machine."""
    if user is not None and token is not None:
        raise InvalidInputError("Give --user or --token, not both.")
    url = session.settings.url
    if user is None:
        secret = _redeemed(_secret(token, url), url)
    else:
        secret = _token_for_password(user, url)
    with quiet_api(url, secret) as api:
        me = api.auth.me()
    path = session.settings.credentials_path
    server = StoredServer(token=secret, name=me.name, own=user is not None)
    write_credentials(path, read_credentials(path).signed_in(url, server))
    if session.json:
        session.console.json(me)
        return
    session.console.good(f"Signed in to {url} as {_who(me)}.")
    session.console.hint(f"The token is in {path}, readable by you alone.")
    if session.settings.token_from_environment:
        session.console.warn("SLUICE_TOKEN is set and wins over what was stored.")


@takes_records
def logout(*, session: Session) -> None:
    """Forget the token of a server on this machine; one that `--user` made is revoked."""
    path = session.settings.credentials_path
    stored = read_credentials(path)
    url = normalized_url(session.url or stored.current or session.settings.url)
    server = stored.servers.get(url)
    known = server is not None
    revoked = server is not None and server.own and _revoke(server.token, url)
    if known:
        write_credentials(path, stored.signed_out(url))
    if session.json:
        found = {"url": url, "signed_out": known, "revoked": revoked}
        session.console.json(found)
    elif revoked:
        session.console.good(f"Signed out of {url}; the token is revoked.")
    elif known:
        session.console.good(f"Forgot the token of {url}.")
        session.console.hint("It stays valid until it is revoked on the server.")
    else:
        session.console.hint(f"Nobody was signed in to {url} here.")


@takes_records
def whoami(
    *,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            metavar="WORKSPACE",
            help="Show what you may do in this workspace, too.",
        ),
    ] = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Show which server commands go to, and as whom; with --organization, what you may do there."""
    me = session.api.auth.me()
    permissions = _permissions(session, workspace, where)
    if permissions is not None:
        me = me.model_copy(update={"permissions": permissions})
    if session.json:
        session.console.json(
            {**me.model_dump(mode="json"), "url": session.settings.url}
        )
        return
    origin = (
        "SLUICE_TOKEN" if session.settings.token_from_environment else "sluice login"
    )
    facts = [("User", _who(me)), ("Server", session.settings.url)]
    facts.append(("Token from", origin))
    if permissions is not None:
        facts.append(("May", ", ".join(permissions)))
    session.console.facts(facts)


def _permissions(
    session: Session, workspace: str | None, where: InOrganization
) -> list[str] | None:
    """What the caller may do at the place that was asked for; None where none was."""
    if workspace is not None:
        found = find_workspace(
            session.api, workspace, organization=wanted_organization(session, where)
        )
        return session.api.grants.permissions(found.id).permissions
    if where.organization is not None:
        owner = organization_of(session, where)
        return session.api.organizations.permissions(owner.id).permissions
    return None


def _redeemed(secret: str, url: str) -> str:
    """An API token for what was given: itself, or that of the first administrator."""
    if not secret.startswith(_SETUP):
        return secret
    with quiet_api(url, None) as api:
        return api.auth.setup(SetupInput(token=secret)).token


def _token_for_password(user: str, url: str) -> str:
    body = TokenLoginInput(
        name=user,
        password=typed_secret(f"Password of {user} for {url}: "),
        token_name=_token_name(),
    )
    with quiet_api(url, None) as api:
        return api.sign_in.token(body).token


def _token_name() -> str:
    """Which machine the token is on, in signs that names have."""
    machine = re.sub(r"[^A-Za-z0-9_.-]+", "-", platform.node())[:60]
    return f"login-{machine}".rstrip("-")


def _revoke(token: str, url: str) -> bool:
    """Whether the server took the token back; without it, it is only forgotten."""
    try:
        with quiet_api(url, token) as api:
            api.sign_in.sign_out()
    except SluiceError:
        return False
    return True


def typed_secret(prompt: str) -> str:
    """A password, typed without being shown, or a line of stdin.

    Raises:
        InvalidInputError: it is empty.
    """
    typed = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    typed = typed.rstrip("\r\n")
    if not typed:
        raise InvalidInputError("The password is empty.")
    return typed


def _secret(token: str | None, url: str) -> str:
    if token == "-":  # noqa: S105 - the sign for stdin
        token = sys.stdin.readline()
    elif token is None:
        if not sys.stdin.isatty():
            raise InvalidInputError(
                "There is no terminal to ask at; give --token, or --token - to read stdin."
            )
        token = getpass.getpass(f"Token for {url}: ")
    token = token.strip()
    if not token:
        raise InvalidInputError("The token is empty.")
    if not token.isascii() or any(sign.isspace() for sign in token):
        raise InvalidInputError(
            "The token holds signs that no token has; copy it again."
        )
    return token


def _who(me: Me) -> str:
    return f"{me.name}, an administrator" if me.admin else me.name
