"""`sluice login`, `logout` and `whoami`."""

import getpass
import sys
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli.options import takes_records
from sluice.cli.session import Session, quiet_api
from sluice.client.settings import (
    StoredServer,
    normalized_url,
    read_credentials,
    write_credentials,
)
from sluice.wire.shapes.people import Me, SetupInput

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
    session: Session,
) -> None:
    """Sign in to a server and remember its token on this machine."""
    url = session.settings.url
    secret = _secret(token, url)
    if secret.startswith(_SETUP):
        with quiet_api(url, None) as api:
            secret = api.auth.setup(SetupInput(token=secret)).token
    with quiet_api(url, secret) as api:
        me = api.auth.me()
    path = session.settings.credentials_path
    stored = read_credentials(path).signed_in(
        url, StoredServer(token=secret, name=me.name)
    )
    write_credentials(path, stored)
    if session.json:
        session.console.json(me)
        return
    session.console.good(f"Signed in to {url} as {_who(me)}.")
    session.console.hint(f"The token is in {path}, readable by you alone.")
    if session.settings.token_from_environment:
        session.console.warn("SLUICE_TOKEN is set and wins over what was stored.")


@takes_records
def logout(*, session: Session) -> None:
    """Forget the token of a server on this machine."""
    path = session.settings.credentials_path
    stored = read_credentials(path)
    url = normalized_url(session.url or stored.current or session.settings.url)
    known = url in stored.servers
    if known:
        write_credentials(path, stored.signed_out(url))
    if session.json:
        session.console.json({"url": url, "signed_out": known})
    elif known:
        session.console.good(f"Forgot the token of {url}.")
        session.console.hint("It stays valid until it is revoked on the server.")
    else:
        session.console.hint(f"Nobody was signed in to {url} here.")


@takes_records
def whoami(*, session: Session) -> None:
    """Show which server commands go to, and as whom."""
    me = session.api.auth.me()
    if session.json:
        session.console.json(
            {**me.model_dump(mode="json"), "url": session.settings.url}
        )
        return
    origin = (
        "SLUICE_TOKEN" if session.settings.token_from_environment else "sluice login"
    )
    session.console.facts(
        [("User", _who(me)), ("Server", session.settings.url), ("Token from", origin)]
    )


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
