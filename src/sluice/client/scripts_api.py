"""Routes of registered scripts."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.scripts import (
    InstallInput,
    Script,
    ScriptInput,
    ScriptPatch,
    ScriptStatus,
    Started,
)


class ScriptsApi:
    """Scripts that administrators registered, and their runs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization_id: str) -> list[Script]:
        """An organization's scripts by key."""
        path = api_path("organizations", organization_id, "scripts")
        return many(Script, self._transport.send("GET", path))

    def create(self, organization_id: str, body: ScriptInput) -> Script:
        """A new script."""
        path = api_path("organizations", organization_id, "scripts")
        return one(Script, self._transport.send("POST", path, body=body))

    def get(self, script_id: str) -> Script:
        """The script with this id."""
        return one(Script, self._transport.send("GET", api_path("scripts", script_id)))

    def update(self, script_id: str, body: ScriptPatch) -> Script:
        """Change a script; what ``body`` does not set stays."""
        path = api_path("scripts", script_id)
        return one(Script, self._transport.send("PATCH", path, body=body))

    def delete(self, script_id: str) -> None:
        """Forget a script; its tasks and their logs stay."""
        self._transport.send("DELETE", api_path("scripts", script_id))

    def start(self, body: InstallInput) -> str:
        """Start the script with the key in ``body``; the id of its task."""
        path = "/v1/soft/install"
        return one(Started, self._transport.send("POST", path, body=body)).task_id

    def status(self, task_id: str) -> ScriptStatus:
        """How far a script's task is."""
        params = {"task_id": task_id}
        answer = self._transport.send("GET", "/v1/log/status", params=params)
        return one(ScriptStatus, answer)
