"""Which secret came with a request, and how: the one place that looks for it.

A header comes first; where one is given neither cookie nor ticket counts. A session opens
by its cookie alone, a ticket by the address of a WebSocket alone.
"""

import base64
import binascii

from starlette.requests import HTTPConnection

from sluice.auth.model import TokenKind
from sluice.auth.session_cookies import SessionCookies
from sluice.auth.tokens import kind_of
from sluice.base.errors import UnauthorizedError

TICKET = "ticket"
"""The name in a WebSocket's query."""


def bearer_of(connection: HTTPConnection) -> str:
    """The secret that came with a request; empty where none came.

    That is a bearer, the password of HTTP basic (Terraform's `http` backend only speaks
    that; the user name is not looked at), a WebSocket's ticket, or a session's cookie.

    Raises:
        UnauthorizedError: it came in a way in which it opens nothing.
        ForbiddenError: a cookie came that another page may have sent.
    """
    given = connection.headers.get("authorization")
    if given is not None:
        return _checked(_of_header(given))
    if connection.scope["type"] == "websocket" and TICKET in connection.query_params:
        return _ticket_of(connection)
    return session_of(connection)


def session_of(connection: HTTPConnection) -> str:
    """The session's secret in the request's cookie; empty where none came.

    Raises:
        UnauthorizedError: the cookie holds no session.
        ForbiddenError: another page may have sent it.
    """
    cookies: SessionCookies | None = getattr(connection.app.state, "cookies", None)
    secret = "" if cookies is None else cookies.secret_of(connection)
    if cookies is None or not secret:
        return ""
    if kind_of(secret) is not TokenKind.SESSION:
        raise UnauthorizedError("The cookie holds no session; sign in again.")
    cookies.check(connection, secret)
    return secret


def _of_header(given: str) -> str:
    scheme, _, value = given.partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            return _basic_password(value.strip())
        case _:
            return ""


def _checked(secret: str) -> str:
    if kind_of(secret) in {TokenKind.SESSION, TokenKind.TICKET}:
        raise UnauthorizedError(
            "A session opens by its cookie, and a ticket by `?ticket=` of a WebSocket;"
            " neither does as a bearer. Use an API token."
        )
    return secret


def _ticket_of(connection: HTTPConnection) -> str:
    ticket = connection.query_params[TICKET]
    if kind_of(ticket) is not TokenKind.TICKET:
        raise UnauthorizedError(
            "What came as `ticket` is none; POST /api/v1/auth/tickets gives one. Tokens"
            " never go into an address."
        )
    return ticket


def _basic_password(encoded: str) -> str:
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise UnauthorizedError(
            "The basic credentials cannot be read; send user:token in base64."
        ) from None
    return decoded.partition(":")[2]
