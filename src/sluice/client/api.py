"""All public routes of a Sluice server, typed, for programs that are not asynchronous."""

from types import TracebackType
from typing import Self

from sluice.client.audit_api import AuditApi
from sluice.client.gates_api import PoliciesApi, PricesApi
from sluice.client.notifications_api import NotificationsApi
from sluice.client.people_api import (
    AuthApi,
    OrganizationsApi,
    UsersApi,
)
from sluice.client.pools_api import AgentsApi, PoolsApi
from sluice.client.run_task_results_api import RunTaskResultsApi
from sluice.client.run_tasks_api import RunTasksApi, WorkspaceRunTasksApi
from sluice.client.scripts_api import ScriptsApi
from sluice.client.sign_in_api import SignInApi
from sluice.client.tasks_api import LogsApi, TasksApi
from sluice.client.teams_api import GrantsApi, MembersApi, TeamsApi
from sluice.client.transport import Transport
from sluice.client.workspaces_api import (
    ConfigurationsApi,
    StatesApi,
    VariablesApi,
    WorkspacesApi,
)


class Api:
    """A client of one server, with one token.

    Every method returns a record of `sluice.wire.shapes` and raises a `SluiceError` by the
    server's error code; reads are retried while the server restarts.

    Example:
        >>> with Api("http://127.0.0.1:8460", token) as api:
        ...     task = api.tasks.get("task-8fQ2m1YdW3kZ9xTa")
        ...     for frame in api.logs.follow(task.id):
        ...         print(frame)
    """

    def __init__(self, url: str, token: str | None, *, attempts: int = 5) -> None:
        transport = Transport(url, token, attempts=attempts)
        self.transport = transport
        self.auth = AuthApi(transport)
        self.sign_in = SignInApi(transport)
        self.users = UsersApi(transport)
        self.audit = AuditApi(transport)
        self.organizations = OrganizationsApi(transport)
        self.members = MembersApi(transport)
        self.teams = TeamsApi(transport)
        self.grants = GrantsApi(transport)
        self.pools = PoolsApi(transport)
        self.agents = AgentsApi(transport)
        self.workspaces = WorkspacesApi(transport)
        self.variables = VariablesApi(transport)
        self.configurations = ConfigurationsApi(transport)
        self.states = StatesApi(transport)
        self.tasks = TasksApi(transport)
        self.logs = LogsApi(transport, self.tasks)
        self.scripts = ScriptsApi(transport)
        self.run_tasks = RunTasksApi(transport)
        self.policies = PoliciesApi(transport)
        self.notifications = NotificationsApi(transport)
        self.prices = PricesApi(transport)
        self.workspace_run_tasks = WorkspaceRunTasksApi(transport)
        self.run_task_results = RunTaskResultsApi(transport)

    @property
    def url(self) -> str:
        """The server's address."""
        return self.transport.url

    def ready(self) -> None:
        """Ask the server whether it can work.

        Raises:
            SluiceError: it cannot, or is not there.
        """
        self.transport.send("GET", "/readyz")

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.close()
