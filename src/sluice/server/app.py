"""The ASGI application: routers, the middle layers around them, and what is denied."""

import functools
from collections.abc import Sequence

import structlog
from fastapi import APIRouter, FastAPI
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sluice import __version__
from sluice.agents.api import build_router as agents_router
from sluice.agents.log_api import build_upload_routes, upload_deps
from sluice.auth.api import build_router as auth_router
from sluice.auth.audit_api import build_router as audit_router
from sluice.auth.audit_trail import AuditTrail, RecordCalls
from sluice.auth.guard import deny_by_default, guarded, include
from sluice.auth.oidc_api import build_router as oidc_router
from sluice.auth.openapi import openapi_document
from sluice.auth.permissions import Permission
from sluice.auth.session_api import build_router as session_router
from sluice.auth.well_known_api import build_well_known_routes
from sluice.base.errors import UnavailableError
from sluice.configs.api import build_router as configs_router
from sluice.costs.api import build_router as costs_router
from sluice.edge.bodies import BodyCap
from sluice.edge.cors import CrossOrigin
from sluice.edge.described import Content, Described
from sluice.edge.health import HEALTH, READINESS, healthz, readiness
from sluice.edge.metrics import METRICS, metrics_endpoint
from sluice.edge.problems import install_problem_handlers, problem_of
from sluice.edge.rate_limits import LimitRates
from sluice.edge.requests import RefuseNul, RequestMetrics, RequestScope
from sluice.edge.security_headers import SecurityHeaders
from sluice.edge.stopping import EndLongPolls, Stopping
from sluice.edge.upgrade import CheckUpgrades
from sluice.notifications.api import build_router as notifications_router
from sluice.policies.api import build_router as policies_router
from sluice.runtasks.api import build_router as run_tasks_router
from sluice.runtasks.callback_api import build_callback_routes
from sluice.runtasks.results_api import build_results_router
from sluice.scripts.api import build_router as scripts_router
from sluice.scripts.embed import build_embed_routes
from sluice.scripts.log_api import (
    GETLOG_PATH,
    ScriptLogDeps,
    build_script_log_routes,
)
from sluice.server.concepts import Concepts
from sluice.server.parts import Parts
from sluice.state.api import build_router as state_router
from sluice.tasks.api import build_router as tasks_router
from sluice.tasks.data_api import build_router as task_data_router
from sluice.tasks.exec_api import build_router as exec_router
from sluice.tasks.late_api import build_router as late_output_router
from sluice.tasks.log_api import build_log_routes
from sluice.tasks.log_facts import log_api_deps
from sluice.tasks.review_api import build_router as review_router
from sluice.tasks.viewers import StreamLimits
from sluice.workspaces.api import build_router as workspaces_router

_logger = structlog.get_logger(__name__)


def build_app(parts: Parts, concepts: Concepts, stopping: Stopping) -> FastAPI:
    """Put the application together; the last step closes what declares no permission."""
    app = FastAPI(
        title="Sluice",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.authenticator = concepts.authenticator
    app.state.access = concepts.access
    app.state.cookies = concepts.signing_in.cookies
    app.state.live = concepts.signing_in.live
    trail = AuditTrail(concepts.audit.log, parts.database, parts.clock)
    parts.database.watch = trail
    app.state.trail = trail
    install_problem_handlers(app)
    for kind in (OperationalError, InterfaceError, PoolTimeoutError, OSError):
        app.add_exception_handler(kind, _on_database_away)
    for router in _routers(concepts):
        include(app, router)
    app.router.routes.extend(_log_routes(parts, concepts))
    app.router.routes.extend(build_callback_routes(concepts.asking))
    app.router.routes.extend(build_well_known_routes(concepts.identities))
    app.router.routes.extend(_operations(parts, stopping))
    app.router.routes.extend(_openapi(app))
    closed = deny_by_default(app.router.routes)
    if closed:
        _logger.error("routes without a permission are closed", routes=closed)
    _wrap(app, parts, stopping)
    return app


def _routers(concepts: Concepts) -> Sequence[APIRouter]:
    return (
        auth_router(concepts.auth),
        session_router(concepts.signing_in.deps, concepts.signing_in.cookies),
        oidc_router(
            concepts.signing_in.deps,
            concepts.signing_in.cookies,
            concepts.signing_in.sso,
        ),
        audit_router(concepts.audit),
        workspaces_router(concepts.workspaces),
        configs_router(concepts.configs),
        state_router(concepts.states),
        tasks_router(concepts.tasks),
        task_data_router(concepts.tasks),
        review_router(concepts.tasks),
        exec_router(concepts.tasks),
        late_output_router(concepts.tasks),
        agents_router(concepts.agents),
        scripts_router(concepts.scripts),
        run_tasks_router(concepts.run_tasks),
        build_results_router(concepts.asking),
        policies_router(concepts.policies),
        costs_router(concepts.costs),
        notifications_router(concepts.notifications),
    )


def _log_routes(parts: Parts, concepts: Concepts) -> list[BaseRoute]:
    """Where output comes in and goes out."""
    logs, settings = concepts.logs, parts.settings
    limits = StreamLimits(
        viewers_per_task=settings.stream_viewers_per_task,
        viewers_per_script=settings.log_max_clients_per_task,
        streams_per_user=settings.streams_per_user,
        new_per_minute=settings.streams_per_minute_per_address,
        idle_seconds=settings.stream_idle_seconds,
        script_idle_seconds=settings.log_websocket_timeout,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    shown = log_api_deps(concepts.tasks, logs.logs, logs.tails, limits)
    return [
        *build_upload_routes(upload_deps(concepts.tasks, logs)),
        *build_log_routes(shown),
        *build_script_log_routes(
            ScriptLogDeps(concepts.scripts, shown, settings.log_realtime_enabled)
        ),
        *build_embed_routes(),
    ]


def _wrap(app: FastAPI, parts: Parts, stopping: Stopping) -> None:
    """Layers around the routes; the one added last is the outermost."""
    app.add_middleware(RecordCalls, trail=app.state.trail)
    app.add_middleware(BodyCap, cap=parts.settings.json_body_bytes)
    app.add_middleware(EndLongPolls, stopping=stopping)
    origins = parts.settings.page_origins
    app.add_middleware(CheckUpgrades, allowed_origins=origins)
    app.add_middleware(RefuseNul, judged_there={GETLOG_PATH})
    app.add_middleware(LimitRates, limits=parts.rates)
    app.add_middleware(CrossOrigin, allowed_origins=origins, prefix="/v1/")
    https = parts.settings.resolved_public_url.startswith("https://")
    app.add_middleware(SecurityHeaders, https=https)
    app.add_middleware(RequestScope, metrics=RequestMetrics(parts.registry))


def _operations(parts: Parts, stopping: Stopping) -> list[BaseRoute]:
    needed = {"database": parts.check_database}
    helpful = {} if parts.relay is None else {"redis": parts.relay.check}
    ready = readiness(needed, stopping, helpful=helpful)
    public = Permission.PUBLIC
    return [
        Route("/healthz", guarded(public, described=HEALTH)(healthz)),
        Route("/readyz", guarded(public, described=READINESS)(ready)),
        Route(
            "/metrics",
            guarded(public, described=METRICS)(metrics_endpoint(parts.registry)),
        ),
    ]


def _openapi(app: FastAPI) -> list[BaseRoute]:
    document = functools.cache(lambda: openapi_document(app))
    described = Described(
        "OpenAPI document", {200: Content("OpenAPI 3.1.", "application/json")}
    )

    @guarded(Permission.PUBLIC, described=described)
    async def openapi(request: Request) -> Response:
        """All routes with what they take and give; this document."""
        return JSONResponse(document())

    return [Route("/api/v1/openapi.json", openapi)]


async def _on_database_away(request: Request, error: Exception) -> Response:
    """What a database that is away, locked or swamped looks like: try again later."""
    _logger.error("a request failed for the database's sake", reason=str(error))
    return problem_of(UnavailableError("The database does not answer; try again."))
