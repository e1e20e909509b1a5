"""What single sign-on is set to, what a provider says of somebody, and what a browser brings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CALLBACK = "/api/v1/auth/oidc/callback"
ENTRANCE = "/api/v1/auth/oidc/login"
_LONGEST_NEXT = 2000
_MOST_GROUPS = 5000


@dataclass(frozen=True, slots=True)
class OidcRules:
    """The settings of single sign-on.

    Attributes:
        issuer: the provider, exactly as its tokens name it.
        client_id: the client that the provider knows this server as.
        client_secret: empty for a public client.
        redirect_uri: where the provider sends the browser back to.
        name: what the button says.
        scopes: what the provider is asked for.
        groups_claim: the claim that lists groups; empty: they are not looked at.
        domains: of verified e-mail addresses that may sign in; empty: all.
        create_users: whether strangers become users.
        link_by_email: whether a verified address leads to the user who has it.
        admin_group: whose members are administrators; empty leaves that alone.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    name: str = "Single sign-on"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    domains: frozenset[str] = frozenset()
    create_users: bool = True
    link_by_email: bool = False
    admin_group: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says somebody is; ``email`` only where it has verified it."""

    issuer: str
    subject: str
    name: str
    email: str | None
    groups: frozenset[str]


def person_of(rules: OidcRules, claims: Mapping[str, Any]) -> Person:
    """The person that checked claims describe."""
    email = claims.get("email")
    # some providers write the boolean as a text
    verified = claims.get("email_verified") in (True, "true")
    usable = isinstance(email, str) and verified and 0 < len(email) <= 254
    name = claims.get("preferred_username") or claims.get("name") or email
    return Person(
        issuer=rules.issuer,
        subject=str(claims["sub"]),
        name=name if isinstance(name, str) else "",
        email=str(email).lower() if usable else None,
        groups=_groups(claims.get(rules.groups_claim)),
    )


def _groups(claim: object) -> frozenset[str]:
    if isinstance(claim, str):
        return frozenset({claim})
    if not isinstance(claim, list):
        return frozenset()
    return frozenset(one for one in claim[:_MOST_GROUPS] if isinstance(one, str))


def local_path(given: str | None) -> str:
    """``given`` where it is a path on this server, else the front page.

    Browsers take `//host` and `/\\host` for other servers, and leave control characters
    out before they look.
    """
    path = given or "/"
    strange = "\\" in path or any(ord(sign) <= ord(" ") for sign in path)
    outside = not path.startswith("/") or path.startswith("//")
    if strange or outside or len(path) > _LONGEST_NEXT or not path.isascii():
        return "/"
    return path
