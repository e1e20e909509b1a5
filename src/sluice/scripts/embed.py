"""The viewer for pages of one's own: one file of plain JavaScript, served as it lies here."""

import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sluice.auth.guard import guarded
from sluice.auth.permissions import Permission
from sluice.edge.described import Content, Described

_MEDIA_TYPE = "text/javascript; charset=utf-8"
EMBED = Described(
    "The embeddable viewer",
    {
        200: Content("JavaScript that defines `<sluice-log>`.", _MEDIA_TYPE),
        304: Content("It is what `If-None-Match` names."),
    },
    tag="scripts",
)


def build_embed_routes() -> list[BaseRoute]:
    """The one route of the viewer; everybody may load it, whatever page they are on."""
    content = (resources.files("sluice.scripts") / "static" / "embed.js").read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "etag": etag,
        "cache-control": "public, max-age=300",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
        "x-content-type-options": "nosniff",
    }

    @guarded(Permission.PUBLIC, described=EMBED)
    async def embed(request: Request) -> Response:
        """The viewer of a script's output for other pages: `<sluice-log task-id="…">`."""
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_MEDIA_TYPE, headers=headers)

    return [Route("/embed.js", embed)]
