"""Which identity tokens a phase asks for by its workspace's variables, and what they say.

The names are HCP Terraform's, so that trust that was set up for it holds here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.base.errors import InvalidInputError
from sluice.wire.agent import PhaseName, PhaseOrder

PROJECT = "Default Project"
"""Workspaces stand in no projects; what HCP Terraform calls the one that all begin in."""

MAX_TOKENS = 20
MAX_AUDIENCE = 1000
CLAIMS = (
    "iss",
    "sub",
    "aud",
    "iat",
    "nbf",
    "exp",
    "jti",
    "terraform_organization_id",
    "terraform_organization_name",
    "terraform_project_name",
    "terraform_workspace_id",
    "terraform_workspace_name",
    "terraform_full_workspace",
    "terraform_run_id",
    "terraform_run_phase",
)

_AUDIENCE = "TFC_WORKLOAD_IDENTITY_AUDIENCE"
_TOKEN = "TFC_WORKLOAD_IDENTITY_TOKEN"  # noqa: S105 - a variable's name
_TAG = re.compile(r"[A-Za-z0-9_]+")
# `…_TOKEN_PATH` and `…_TOKEN_PATH_<tag>` name files; `TYPE` is reserved as by HCP Terraform
_RESERVED = re.compile(r"TYPE|PATH(_.*)?")
# what could be read as another subject must not stand in one
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_AWS_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
)
_AZURE_KEYS = (
    "ARM_CLIENT_SECRET",
    "ARM_CLIENT_SECRET_FILE_PATH",
    "ARM_CLIENT_CERTIFICATE",
    "ARM_CLIENT_CERTIFICATE_PATH",
    "ARM_CLIENT_CERTIFICATE_PASSWORD",
    "ARM_OIDC_TOKEN",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token that a phase asks for.

    Attributes:
        name: of its file.
        audience: who is to trust it.
        token_variables: environment variables that are to hold it.
        path_variables: environment variables that are to name its file.
        environment: what else is set with it.
        instead_of: variables of the agent's own environment that would win over it.
    """

    name: str
    audience: str
    token_variables: tuple[str, ...] = ()
    path_variables: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    instead_of: tuple[str, ...] = ()


def wanted_tokens(order: PhaseOrder) -> list[Wanted]:
    """What the environment variables of an order's workspace ask for.

    Raises:
        InvalidInputError: they ask for what cannot be.
    """
    given = {
        variable.key: variable.value.strip()
        for variable in order.variables
        if variable.category == "env"
    }
    wanted = [*_by_audience(given), *_aws(given, order), *_azure(given, order)]
    for one in wanted:
        _check_audience(one)
    if len(wanted) > MAX_TOKENS:
        raise InvalidInputError(
            f"The workspace asks for {len(wanted)} identity tokens; "
            f"{MAX_TOKENS} are the most."
        )
    return wanted


def subject(organization: str, workspace: str, phase: PhaseName) -> str:
    """Whom a token speaks for.

    Raises:
        InvalidInputError: a name could be read as more than a name.
    """
    return f"{full_workspace(organization, workspace)}:run_phase:{phase.value}"


def full_workspace(organization: str, workspace: str) -> str:
    """A workspace with all that it stands in.

    Raises:
        InvalidInputError: a name could be read as more than a name.
    """
    for name in (organization, workspace):
        if not _PLAIN_NAME.fullmatch(name):
            raise InvalidInputError(
                f"{name!r} cannot stand in an identity token; rename it to letters, "
                "digits, `_`, `.` and `-`."
            )
    return f"organization:{organization}:project:{PROJECT}:workspace:{workspace}"


def claims(order: PhaseOrder, organization: str) -> dict[str, str]:
    """What a token says of its phase.

    Raises:
        InvalidInputError: a name could be read as more than a name.
    """
    return {
        "sub": subject(organization, order.workspace_name, order.phase),
        "terraform_organization_id": order.organization_id,
        "terraform_organization_name": organization,
        "terraform_project_name": PROJECT,
        "terraform_workspace_id": order.workspace_id,
        "terraform_workspace_name": order.workspace_name,
        "terraform_full_workspace": full_workspace(organization, order.workspace_name),
        "terraform_run_id": order.task_id,
        "terraform_run_phase": order.phase.value,
    }


def _by_audience(given: Mapping[str, str]) -> list[Wanted]:
    """Tokens by audience, as they are, for whatever takes them."""
    found = []
    for key, audience in given.items():
        tag = key.removeprefix(_AUDIENCE)
        if tag == key or not audience or not (tag == "" or tag.startswith("_")):
            continue
        label = tag.removeprefix("_")
        if tag and (not _TAG.fullmatch(label) or _RESERVED.fullmatch(label)):
            raise InvalidInputError(
                f"{key} cannot be: what follows {_AUDIENCE}_ is made of letters, digits "
                "and `_`, and is neither TYPE nor PATH. Rename the variable."
            )
        found.append(
            Wanted(
                name=f"token{tag}",
                audience=audience,
                token_variables=(f"{_TOKEN}{tag}",),
                path_variables=(f"{_TOKEN}_PATH{tag}",),
            )
        )
    return found


def _aws(given: Mapping[str, str], order: PhaseOrder) -> list[Wanted]:
    """A role of AWS, which its SDKs take by themselves with these variables."""
    if given.get("TFC_AWS_PROVIDER_AUTH", "").lower() != "true":
        return []
    environment = {"AWS_ROLE_ARN": _of_phase(given, order.phase, "AWS", "ROLE_ARN")}
    if not given.get("AWS_ROLE_SESSION_NAME"):
        environment["AWS_ROLE_SESSION_NAME"] = f"sluice-{order.task_id}"
    return [
        Wanted(
            name="aws",
            audience=given.get("TFC_AWS_WORKLOAD_IDENTITY_AUDIENCE")
            or "aws.workload.identity",
            path_variables=("AWS_WEB_IDENTITY_TOKEN_FILE",),
            environment=environment,
            instead_of=_AWS_KEYS,
        )
    ]


def _azure(given: Mapping[str, str], order: PhaseOrder) -> list[Wanted]:
    """An application of Azure, as the azurerm, azuread and azapi providers take it."""
    if given.get("TFC_AZURE_PROVIDER_AUTH", "").lower() != "true":
        return []
    client_id = _of_phase(given, order.phase, "AZURE", "CLIENT_ID")
    return [
        Wanted(
            name="azure",
            audience=given.get("TFC_AZURE_WORKLOAD_IDENTITY_AUDIENCE")
            or "api://AzureADTokenExchange",
            path_variables=("ARM_OIDC_TOKEN_FILE_PATH",),
            environment={"ARM_USE_OIDC": "true", "ARM_CLIENT_ID": client_id},
            instead_of=_AZURE_KEYS,
        )
    ]


def _of_phase(given: Mapping[str, str], phase: PhaseName, cloud: str, what: str) -> str:
    """The value for this phase, else the one for both."""
    own = f"TFC_{cloud}_{phase.value.upper()}_{what}"
    both = f"TFC_{cloud}_RUN_{what}"
    value = given.get(own) or given.get(both)
    if not value:
        raise InvalidInputError(
            f"TFC_{cloud}_PROVIDER_AUTH is true, but the workspace has neither {both} nor "
            f"{own}; set one of these environment variables."
        )
    return value


def _check_audience(wanted: Wanted) -> None:
    if len(wanted.audience) > MAX_AUDIENCE or not wanted.audience.isprintable():
        raise InvalidInputError(
            f"The audience of the identity token `{wanted.name}` is longer than "
            f"{MAX_AUDIENCE} characters, or not printable; shorten it."
        )
