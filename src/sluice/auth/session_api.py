"""Routes of signing in and out: passwords, sessions of pages, tickets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from sluice.auth import sign_in
from sluice.auth.actions import IssuedToken
from sluice.auth.guard import guarded, require_user
from sluice.auth.model import StoredToken, User, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.auth.session_cookies import SessionCookies
from sluice.auth.sign_in import SignInDeps
from sluice.base.ids import TokenId, UserId
from sluice.wire.shapes import sign_in as shapes
from sluice.wire.shapes.people import NewToken

Caller = Annotated[UserPrincipal, Depends(require_user(Permission.SIGNED_IN))]
Owner = Annotated[UserPrincipal, Depends(require_user(Permission.MANAGE_OWN))]
Admin = Annotated[UserPrincipal, Depends(require_user(Permission.ADMIN))]


def build_router(deps: SignInDeps, cookies: SessionCookies) -> APIRouter:
    """Routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["who"])
    _add_sign_in(router, deps, cookies)
    _add_session(router, deps, cookies)
    _add_sessions(router, deps)
    _add_passwords(router, deps)
    return router


def _add_sign_in(router: APIRouter, deps: SignInDeps, cookies: SessionCookies) -> None:
    @router.post("/auth/login")
    @guarded(Permission.PUBLIC)
    async def login(
        body: shapes.LoginInput, request: Request, response: Response
    ) -> shapes.Session:
        """Sign in to a page by name and password; the answer sets the session's cookie."""
        cookies.check_origin(request.headers, unsafe=True)
        address = address_of(request)
        user = await sign_in.check_sign_in(
            deps, name=body.name, password=body.password, address=address
        )
        issued = await sign_in.open_session(
            deps,
            user=user,
            client=request.headers.get("user-agent", ""),
            address=address,
            by="password",
        )
        put_session(deps, cookies, response, issued)
        return _session(user, issued.token, cookies.csrf_of(issued.secret))

    @router.post("/auth/login/token", status_code=201)
    @guarded(Permission.PUBLIC)
    async def login_for_token(
        body: shapes.TokenLoginInput, request: Request
    ) -> NewToken:
        """Sign in from a program by name and password; the answer is a named API token."""
        address = address_of(request)
        user = await sign_in.check_sign_in(
            deps, name=body.name, password=body.password, address=address
        )
        issued = await sign_in.open_token(
            deps,
            user=user,
            name=body.token_name,
            expires_in_days=body.expires_in_days,
            address=address,
        )
        token = issued.token
        return NewToken(
            id=token.id,
            name=token.name,
            token=issued.secret,
            user_id=user.id,
            expires_at=token.expires_at,
        )


def _add_session(router: APIRouter, deps: SignInDeps, cookies: SessionCookies) -> None:
    @router.get("/auth/session")
    async def get_session(caller: Caller, request: Request) -> shapes.Session:
        """Who is signed in, and the page's CSRF token where they are by cookie."""
        secret = ""
        if "authorization" not in request.headers:
            secret = cookies.secret_of(request)
        return shapes.Session(
            user_id=caller.user_id,
            name=caller.name,
            admin=caller.admin,
            csrf_token=cookies.csrf_of(secret) if secret else None,
            expires_at=caller.until,
        )

    @router.post("/auth/logout", status_code=204)
    async def logout(caller: Caller, request: Request) -> Response:
        """End the session or API token with which the caller came; what it opened ends."""
        await sign_in.sign_out(deps, principal=caller, address=address_of(request))
        response = Response(status_code=204)
        cookies.clear(response)
        return response

    @router.post("/auth/tickets", status_code=201)
    async def create_ticket(caller: Caller) -> shapes.Ticket:
        """A ticket that opens one WebSocket as the caller, once, within 30 seconds."""
        issued = await sign_in.issue_ticket(deps, principal=caller)
        expires_at = issued.token.expires_at or issued.token.created_at
        return shapes.Ticket(ticket=issued.secret, expires_at=expires_at)


def _add_sessions(router: APIRouter, deps: SignInDeps) -> None:
    @router.get("/auth/sessions")
    async def list_sessions(caller: Caller) -> list[shapes.SessionInfo]:
        """The caller's own sessions that are open."""
        found = await sign_in.list_sessions(deps, user_id=caller.user_id)
        return [_info(session, caller) for session in found]

    @router.delete("/auth/sessions", status_code=204)
    async def end_other_sessions(caller: Owner) -> Response:
        """End all of the caller's sessions but the one that asks."""
        await sign_in.end_other_sessions(deps, principal=caller)
        return Response(status_code=204)

    @router.delete("/auth/sessions/{session_id}", status_code=204)
    async def end_session(caller: Owner, session_id: str, request: Request) -> Response:
        """End one of the caller's own sessions."""
        await sign_in.end_session(
            deps,
            principal=caller,
            session_id=TokenId(session_id),
            address=address_of(request),
        )
        return Response(status_code=204)


def _add_passwords(router: APIRouter, deps: SignInDeps) -> None:
    @router.put("/auth/password", status_code=204)
    async def change_password(
        caller: Owner, body: shapes.PasswordChange, request: Request
    ) -> Response:
        """Change the caller's own password; their other sessions end."""
        await sign_in.change_password(
            deps,
            principal=caller,
            old=body.old_password,
            new=body.new_password,
            address=address_of(request),
        )
        return Response(status_code=204)

    @router.post("/users/{user_id}/password", status_code=204)
    async def set_password(
        admin: Admin, user_id: str, body: shapes.PasswordInput, request: Request
    ) -> Response:
        """Set a user's password; their sessions end."""
        await sign_in.set_password(
            deps,
            principal=admin,
            user_id=UserId(user_id),
            new=body.new_password,
            address=address_of(request),
        )
        return Response(status_code=204)


def put_session(
    deps: SignInDeps, cookies: SessionCookies, response: Response, issued: IssuedToken
) -> None:
    """Give the browser a new session's cookie, for as long as it lasts."""
    cookies.put(response, issued.secret, int(deps.rules.session.total_seconds()))


def address_of(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else ""


def _session(user: User, token: StoredToken, csrf: str) -> shapes.Session:
    return shapes.Session(
        user_id=user.id,
        name=user.name,
        admin=user.admin,
        csrf_token=csrf,
        expires_at=token.expires_at,
    )


def _info(session: StoredToken, caller: UserPrincipal) -> shapes.SessionInfo:
    return shapes.SessionInfo(
        id=session.id,
        client=session.name,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        current=session.id == caller.credential_id,
    )
