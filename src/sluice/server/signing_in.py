"""Joins what signing in needs: passwords, cookies, sessions, and streams that end with them."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from sluice.auth.actions import AuthDeps
from sluice.auth.audit import AuditLog
from sluice.auth.authenticator import Authenticator
from sluice.auth.live import LiveStreams
from sluice.auth.live_store import SqlLiveStore
from sluice.auth.oidc import OidcDeps
from sluice.auth.oidc_model import CALLBACK, OidcRules
from sluice.auth.oidc_people import OidcPeople
from sluice.auth.oidc_provider import Provider
from sluice.auth.passwords import Passwords
from sluice.auth.session_cookies import SessionCookies
from sluice.auth.sign_in import SignInDeps, SignInRules
from sluice.auth.sign_in_store import SqlSignInStore
from sluice.auth.sign_in_throttle import SignInThrottle
from sluice.events.topics import ACCESS
from sluice.server.parts import Parts

_KEPT = timedelta(days=7)
_FORGET_SECONDS = 3600.0
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SigningIn:
    """All ways in, and the end of what they opened; ``sso`` where a provider is set."""

    deps: SignInDeps
    cookies: SessionCookies
    live: LiveStreams
    sso: OidcDeps | None

    async def close(self) -> None:
        """Close what holds connections."""
        if self.sso is not None:
            await self.sso.provider.close()


def signing_in(
    parts: Parts, auth: AuthDeps, audit: AuditLog, authenticator: Authenticator
) -> SigningIn:
    """The ways in that the settings open."""
    settings = parts.settings
    rules = SignInRules(
        passwords=settings.password_login,
        session=timedelta(hours=settings.session_hours),
        idle=timedelta(hours=settings.session_idle_hours),
    )
    authenticator.session_idle = rules.idle
    deps = SignInDeps(
        auth=auth,
        store=SqlSignInStore(),
        audit=audit,
        passwords=Passwords(),
        throttle=SignInThrottle(parts.clock),
        rules=rules,
        changed=lambda: parts.hub.publish(ACCESS),
    )
    cookies = SessionCookies(parts.session_keys, settings.resolved_public_url)
    live = LiveStreams(parts.database, SqlLiveStore(), authenticator, parts.clock)
    return SigningIn(deps, cookies, live, _sso(parts, deps))


def _sso(parts: Parts, deps: SignInDeps) -> OidcDeps | None:
    settings = parts.settings
    if not settings.oidc_issuer:
        return None
    rules = OidcRules(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect_uri=settings.resolved_public_url + CALLBACK,
        name=settings.oidc_name,
        scopes=tuple(settings.oidc_scopes.split()),
        groups_claim=settings.oidc_groups_claim,
        domains=frozenset(name.lower() for name in settings.oidc_allowed_domains),
        create_users=settings.oidc_create_users,
        link_by_email=settings.oidc_link_by_email,
        admin_group=settings.oidc_admin_group,
    )
    people = OidcPeople(deps.auth, deps.store, deps.audit, rules)
    return OidcDeps(people, Provider(rules, parts.clock), parts.session_keys)


async def watch_streams(parts: Parts, live: LiveStreams) -> None:
    """Look after open streams, at once where a server says that something has ended."""
    with parts.hub.telling(live.wake, ACCESS):
        await live.run()


async def forget_ended(parts: Parts, deps: SignInDeps) -> None:
    """Delete sessions and tickets a week after their end, so that they do not pile up."""
    while True:
        before = parts.clock.now() - _KEPT
        try:
            async with parts.database.write() as tx:
                await deps.store.forget_ended(tx, before)
        except Exception:
            # the database may be away for a while
            _logger.exception("ended sessions could not be deleted; again later")
        await asyncio.sleep(_FORGET_SECONDS)
