"""Routes of single sign-on, and which ways of signing in there are."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from sluice.auth import oidc, sign_in
from sluice.auth.guard import guarded
from sluice.auth.oidc import STATE_SECONDS, Answer, OidcDeps
from sluice.auth.oidc_model import ENTRANCE
from sluice.auth.permissions import Permission
from sluice.auth.session_api import address_of, put_session
from sluice.auth.session_cookies import SessionCookies
from sluice.auth.sign_in import SignInDeps
from sluice.base.errors import ForbiddenError, NotFoundError, UnauthorizedError
from sluice.wire.shapes import sign_in as shapes

Text = Annotated[str, Query(max_length=4096)]


def build_router(
    deps: SignInDeps, cookies: SessionCookies, sso: OidcDeps | None
) -> APIRouter:
    """Routes under `/api/v1/auth`; without ``sso`` those of a provider are not found."""
    router = APIRouter(prefix="/api/v1/auth", tags=["who"])

    @router.get("/methods")
    @guarded(Permission.PUBLIC)
    async def sign_in_methods() -> shapes.SignInMethods:
        """Which ways of signing in there are, for a page that offers them."""
        return shapes.SignInMethods(
            password=deps.rules.passwords,
            sso=sso is not None,
            sso_name=None if sso is None else sso.provider.rules.name,
            sso_url=None if sso is None else ENTRANCE,
        )

    @router.get("/oidc/login", status_code=302, response_class=RedirectResponse)
    @guarded(Permission.PUBLIC)
    async def begin_sso(
        next_path: Annotated[str | None, Query(alias="next", max_length=4096)] = None,
    ) -> Response:
        """Send the browser to the provider; `next` is a path to come back to."""
        address, kept = await oidc.begin(_wanted(sso), next_path=next_path)
        response = RedirectResponse(address, status_code=302, headers=_UNKEPT)
        _keep(response, cookies, kept, STATE_SECONDS)
        return response

    @router.get("/oidc/callback", status_code=302, response_class=RedirectResponse)
    @guarded(Permission.PUBLIC)
    async def finish_sso(
        request: Request,
        *,
        state: Text = "",
        code: Text = "",
        error: Text = "",
        iss: Annotated[str | None, Query(max_length=4096)] = None,
    ) -> Response:
        """Where the provider sends the browser back to; opens a session."""
        kept = request.cookies.get(_name(cookies), "")
        address = address_of(request)
        try:
            user, wanted = await oidc.finish(
                _wanted(sso),
                answer=Answer(kept, state, code, error, iss),
                address=address,
            )
        except (UnauthorizedError, ForbiddenError):
            await sign_in.note_refusal(
                deps, user=None, name="", address=address, by="sso"
            )
            raise
        issued = await sign_in.open_session(
            deps,
            user=user,
            client=request.headers.get("user-agent", ""),
            address=address,
            by="sso",
        )
        response = RedirectResponse(wanted, status_code=302, headers=_UNKEPT)
        put_session(deps, cookies, response, issued)
        _keep(response, cookies, "", 0)
        return response

    return router


_UNKEPT = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


def _wanted(sso: OidcDeps | None) -> OidcDeps:
    if sso is None:
        raise NotFoundError(
            "There is no single sign-on here; the server's setting oidc_issuer names none."
        )
    return sso


def _name(cookies: SessionCookies) -> str:
    return "__Host-sluice_oidc" if cookies.secure else "sluice_oidc"


def _keep(
    response: Response, cookies: SessionCookies, value: str, seconds: int
) -> None:
    response.set_cookie(
        _name(cookies),
        value,
        max_age=seconds,
        path="/",
        secure=cookies.secure,
        httponly=True,
        samesite="lax",
    )
