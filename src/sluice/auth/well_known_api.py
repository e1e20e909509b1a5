"""What other services read to trust identity tokens: the issuer's description and its keys."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sluice.auth.guard import guarded
from sluice.auth.issuer_keys import ALGORITHM
from sluice.auth.permissions import Permission
from sluice.auth.workload import CLAIMS
from sluice.auth.workload_issuer import WorkloadIssuer
from sluice.edge.described import Content, Described

CONFIGURATION_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/.well-known/jwks"
_CACHED = {"cache-control": "public, max-age=300"}
_CONFIGURATION = Described(
    "Description of the issuer",
    {200: Content("OpenID Connect discovery document.", "application/json")},
)
_KEYS = Described(
    "Keys of the issuer",
    {200: Content("JSON Web Key Set (RFC 7517).", "application/json")},
)


def build_well_known_routes(issuer: WorkloadIssuer) -> list[BaseRoute]:
    """Both documents, public."""

    @guarded(Permission.PUBLIC, described=_CONFIGURATION)
    async def configuration(request: Request) -> Response:
        """Who signs identity tokens of tasks, how, and where the keys are."""
        return JSONResponse(
            {
                "issuer": issuer.url,
                "jwks_uri": issuer.url + KEYS_PATH,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "scopes_supported": ["openid"],
                "claims_supported": list(CLAIMS),
            },
            headers=_CACHED,
        )

    @guarded(Permission.PUBLIC, described=_KEYS)
    async def keys(request: Request) -> Response:
        """The public keys with which identity tokens of tasks are verified."""
        shown = [dict(key) for key in await issuer.published()]
        return JSONResponse({"keys": shown}, headers=_CACHED)

    return [Route(CONFIGURATION_PATH, configuration), Route(KEYS_PATH, keys)]
