"""The ASGI application: routers, the middle layers around them, and what is denied."""

from collections.abc import Sequence

import structlog
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sluice import __version__
from sluice.agents.api import build_router as agents_router
from sluice.auth.api import build_router as auth_router
from sluice.auth.guard import deny_by_default, guarded, include
from sluice.auth.policy import Permission
from sluice.configs.api import build_router as configs_router
from sluice.edge.bodies import BodyCap
from sluice.edge.health import healthz, readiness
from sluice.edge.metrics import metrics_endpoint
from sluice.edge.problems import install_problem_handlers
from sluice.edge.requests import RequestMetrics, RequestScope
from sluice.edge.stopping import EndLongPolls, Stopping
from sluice.server.concepts import Concepts
from sluice.server.parts import Parts
from sluice.state.api import build_router as state_router
from sluice.tasks.api import build_router as tasks_router
from sluice.tasks.data_api import build_router as task_data_router
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
    install_problem_handlers(app)
    for router in _routers(concepts):
        include(app, router)
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
        workspaces_router(concepts.workspaces),
        configs_router(concepts.configs),
        state_router(concepts.states),
        tasks_router(concepts.tasks),
        task_data_router(concepts.tasks),
        agents_router(concepts.agents),
    )


def _wrap(app: FastAPI, parts: Parts, stopping: Stopping) -> None:
    """Layers around the routes; the one added last is the outermost."""
    app.add_middleware(BodyCap, cap=parts.settings.json_body_bytes)
    app.add_middleware(EndLongPolls, stopping=stopping)
    app.add_middleware(RequestScope, metrics=RequestMetrics(parts.registry))


def _operations(parts: Parts, stopping: Stopping) -> list[BaseRoute]:
    needed = {"database": parts.check_database}
    helpful = {} if parts.relay is None else {"redis": parts.relay.check}
    ready = readiness(needed, stopping, helpful=helpful)
    public = guarded(Permission.PUBLIC)
    return [
        Route("/healthz", public(healthz)),
        Route("/readyz", public(ready)),
        Route("/metrics", public(metrics_endpoint(parts.registry))),
    ]


def _openapi(app: FastAPI) -> list[BaseRoute]:
    @guarded(Permission.PUBLIC)
    async def openapi(request: Request) -> Response:
        return JSONResponse(app.openapi())

    return [Route("/api/v1/openapi.json", openapi)]
