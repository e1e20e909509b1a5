"""Routes of what is asked at gates inside the server: policies and prices."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.costs import CostEstimate, PriceFile, PriceFileInput
from sluice.wire.shapes.policies import (
    Policy,
    PolicyCheck,
    PolicyCheckInput,
    PolicyInfo,
    PolicyInput,
    PolicyResults,
)


class PoliciesApi:
    """Policies of organizations and workspaces, and what they say of tasks.

    Where a method takes both, give either ``organization_id`` or ``workspace_id``.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, organization_id: str | None = None, workspace_id: str | None = None
    ) -> list[PolicyInfo]:
        """An organization's policies, or all that hold in a workspace."""
        params = _owner(organization_id, workspace_id)
        answer = self._transport.send("GET", api_path("policies"), params=params)
        return many(PolicyInfo, answer)

    def create(
        self,
        body: PolicyInput,
        *,
        organization_id: str | None = None,
        workspace_id: str | None = None,
    ) -> Policy:
        """A new policy."""
        params = _owner(organization_id, workspace_id)
        path = api_path("policies")
        return one(Policy, self._transport.send("POST", path, body=body, params=params))

    def get(self, policy_id: str) -> Policy:
        """The policy with this id."""
        path = api_path("policies", policy_id)
        return one(Policy, self._transport.send("GET", path))

    def replace(self, policy_id: str, body: PolicyInput) -> Policy:
        """The policy as ``body`` says."""
        path = api_path("policies", policy_id)
        return one(Policy, self._transport.send("PUT", path, body=body))

    def delete(self, policy_id: str) -> None:
        """Forget a policy; what it said of tasks stays."""
        self._transport.send("DELETE", api_path("policies", policy_id))

    def check(self, policy_id: str, body: PolicyCheckInput) -> PolicyCheck:
        """What a policy says of a plan; nothing is stored."""
        path = api_path("policies", policy_id, "check")
        return one(PolicyCheck, self._transport.send("POST", path, body=body))

    def results(self, workspace_id: str, task_id: str) -> PolicyResults:
        """What policies say of a task."""
        path = api_path("workspaces", workspace_id, "tasks", task_id, "policy-results")
        return one(PolicyResults, self._transport.send("GET", path))


class PricesApi:
    """Price files, and what tasks cost by them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, organization_id: str) -> PriceFile:
        """An organization's price file."""
        path = api_path("organizations", organization_id, "price-file")
        return one(PriceFile, self._transport.send("GET", path))

    def put(self, organization_id: str, body: PriceFileInput) -> PriceFile:
        """Keep an organization's price file in place of the one it had."""
        path = api_path("organizations", organization_id, "price-file")
        return one(PriceFile, self._transport.send("PUT", path, body=body))

    def delete(self, organization_id: str) -> None:
        """Forget an organization's price file."""
        path = api_path("organizations", organization_id, "price-file")
        self._transport.send("DELETE", path)

    def estimate(self, workspace_id: str, task_id: str) -> CostEstimate:
        """What a task costs a month."""
        path = api_path("workspaces", workspace_id, "tasks", task_id, "cost-estimate")
        return one(CostEstimate, self._transport.send("GET", path))


def _owner(organization_id: str | None, workspace_id: str | None) -> dict[str, str]:
    given = {"organization_id": organization_id, "workspace_id": workspace_id}
    return {name: value for name, value in given.items() if value is not None}
