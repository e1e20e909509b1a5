"""Routes about workspaces: settings, lock, variables, configuration and state."""

from pathlib import Path

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.configs import ConfigurationVersion
from sluice.wire.shapes.states import OutputValue, StateVersion
from sluice.wire.shapes.workspaces import (
    Variable,
    VariableInput,
    VariablePatch,
    Workspace,
    WorkspaceInput,
    WorkspaceList,
    WorkspacePatch,
)

PAGE = 100


class WorkspacesApi:
    """Workspaces and their locks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization: str, *, name: str | None = None) -> list[Workspace]:
        """An organization's workspaces by name, all pages; ``name`` finds one."""
        path = api_path("organizations", organization, "workspaces")
        found: list[Workspace] = []
        while True:
            params = {"limit": PAGE, "offset": len(found), "name": name}
            answer = self._transport.send("GET", path, params=params)
            page = one(WorkspaceList, answer)
            found += page.workspaces
            if not page.workspaces or len(found) >= page.total:
                return found

    def create(self, organization_id: str, body: WorkspaceInput) -> Workspace:
        """A new workspace."""
        path = api_path("organizations", organization_id, "workspaces")
        return one(Workspace, self._transport.send("POST", path, body=body))

    def get(self, workspace_id: str) -> Workspace:
        """The workspace with this id."""
        path = api_path("workspaces", workspace_id)
        return one(Workspace, self._transport.send("GET", path))

    def update(self, workspace_id: str, body: WorkspacePatch) -> Workspace:
        """Change settings; what ``body`` does not set stays."""
        path = api_path("workspaces", workspace_id)
        return one(Workspace, self._transport.send("PATCH", path, body=body))

    def delete(self, workspace_id: str, *, force: bool = False) -> None:
        """Remove a workspace; ``force`` also one that still has resources."""
        path = api_path("workspaces", workspace_id)
        self._transport.send("DELETE", path, params={"force": force or None})

    def lock(self, workspace_id: str, reason: str) -> Workspace:
        """Take the lock for the caller."""
        return self._act(workspace_id, "lock", reason)

    def unlock(self, workspace_id: str) -> Workspace:
        """Release the caller's own lock."""
        return self._act(workspace_id, "unlock", "")

    def force_unlock(self, workspace_id: str, reason: str) -> Workspace:
        """Release whoever's lock."""
        return self._act(workspace_id, "force-unlock", reason)

    def _act(self, workspace_id: str, verb: str, reason: str) -> Workspace:
        path = api_path("workspaces", workspace_id, verb)
        body = ReasonInput(reason=reason)
        return one(Workspace, self._transport.send("POST", path, body=body))


class VariablesApi:
    """Variables of a workspace."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, workspace_id: str) -> list[Variable]:
        """All variables; sensitive ones without their value."""
        path = api_path("workspaces", workspace_id, "variables")
        return many(Variable, self._transport.send("GET", path))

    def create(self, workspace_id: str, body: VariableInput) -> Variable:
        """A new variable."""
        path = api_path("workspaces", workspace_id, "variables")
        return one(Variable, self._transport.send("POST", path, body=body))

    def update(
        self, workspace_id: str, variable_id: str, body: VariablePatch
    ) -> Variable:
        """Change a variable; what ``body`` does not set stays."""
        path = api_path("workspaces", workspace_id, "variables", variable_id)
        return one(Variable, self._transport.send("PATCH", path, body=body))

    def delete(self, workspace_id: str, variable_id: str) -> None:
        """Remove a variable."""
        path = api_path("workspaces", workspace_id, "variables", variable_id)
        self._transport.send("DELETE", path)


class ConfigurationsApi:
    """Uploads of a workspace's files."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(self, workspace_id: str, archive: Path) -> ConfigurationVersion:
        """A new configuration version with the content of ``archive`` (a tar.gz)."""
        path = api_path("workspaces", workspace_id, "configuration-versions")
        created = one(ConfigurationVersion, self._transport.send("POST", path))
        response = self._transport.send(
            "PUT",
            created.upload_url,
            body=archive,
            headers={"content-type": "application/gzip"},
        )
        return one(ConfigurationVersion, response)

    def get(self, configuration_version_id: str) -> ConfigurationVersion:
        """The configuration version with this id."""
        path = api_path("configuration-versions", configuration_version_id)
        return one(ConfigurationVersion, self._transport.send("GET", path))


class StatesApi:
    """State versions and outputs of a workspace."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def outputs(self, workspace_id: str) -> list[OutputValue]:
        """The outputs of the current state."""
        path = api_path("workspaces", workspace_id, "outputs")
        return many(OutputValue, self._transport.send("GET", path))

    def list(
        self, workspace_id: str, *, limit: int = 20, offset: int = 0
    ) -> list[StateVersion]:
        """State versions, newest first."""
        path = api_path("workspaces", workspace_id, "state-versions")
        params = {"limit": limit, "offset": offset}
        return many(StateVersion, self._transport.send("GET", path, params=params))

    def get(self, state_version_id: str) -> StateVersion:
        """The state version with this id."""
        path = api_path("state-versions", state_version_id)
        return one(StateVersion, self._transport.send("GET", path))

    def download(self, state_version_id: str) -> bytes:
        """The state's own JSON."""
        path = api_path("state-versions", state_version_id, "download")
        return self._transport.send("GET", path).content

    def push(
        self, workspace_id: str, content: bytes, *, force: bool = False
    ) -> StateVersion:
        """Store a state; ``force`` skips the check of serial and lineage."""
        path = api_path("workspaces", workspace_id, "state-versions")
        response = self._transport.send(
            "POST",
            path,
            body=content,
            params={"force": force or None},
            headers={"content-type": "application/json"},
        )
        return one(StateVersion, response)

    def rollback(self, workspace_id: str, state_version_id: str) -> StateVersion:
        """A new version with the content of an old one."""
        path = api_path(
            "workspaces", workspace_id, "state-versions", state_version_id, "rollback"
        )
        return one(StateVersion, self._transport.send("POST", path))
