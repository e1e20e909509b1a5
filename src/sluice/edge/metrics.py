"""The `/metrics` route: everything counted in this process, for Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import Response

from sluice.edge.described import Content, Described

METRICS = Described("Metrics", {200: Content("Prometheus' text format.", "text/plain")})


def new_registry() -> CollectorRegistry:
    """A registry of its own for one server, so that two in one process do not clash."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def metrics_endpoint(
    registry: CollectorRegistry,
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint with all metrics of ``registry`` in Prometheus' text format."""

    async def metrics(request: Request) -> Response:
        """Everything that is counted in this process, for Prometheus."""
        text = await asyncio.to_thread(generate_latest, registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    return metrics
