"""What each concept needs, built from the parts: the one place where they are joined."""

from dataclasses import dataclass

from sluice.agents.actions import AgentDeps
from sluice.agents.dispatcher import Dispatcher
from sluice.agents.store import SqlAgentStore
from sluice.auth.actions import AuthDeps
from sluice.auth.authenticator import Authenticator
from sluice.auth.store import SqlAuthStore
from sluice.configs.actions import ConfigDeps
from sluice.configs.belongings import ConfigurationBelongings
from sluice.configs.store import SqlConfigurationStore
from sluice.logs.assembly import LogSystem, assemble_logs, database_backing
from sluice.logs.store import SqlLogStore
from sluice.scripts.actions import ScriptDeps
from sluice.scripts.retention import RetentionDeps, RetentionMetrics
from sluice.scripts.store import SqlScriptStore
from sluice.server.parts import Parts
from sluice.state.actions import StateDeps
from sluice.state.belongings import StateBelongings
from sluice.state.store import SqlStateStore
from sluice.tasks.belongings import WorkspaceTasks
from sluice.tasks.deps import TaskDeps
from sluice.tasks.late_store import SqlLateOutputStore
from sluice.tasks.leases import CurrentLeases
from sluice.tasks.store import SqlTaskStore
from sluice.workspaces.actions import WorkspaceDeps
from sluice.workspaces.state_locks import StateLocks
from sluice.workspaces.store import SqlVariableStore, SqlWorkspaceStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The SQL stores; they hold nothing but what they know of the tables."""

    auth: SqlAuthStore
    workspaces: SqlWorkspaceStore
    variables: SqlVariableStore
    configs: SqlConfigurationStore
    states: SqlStateStore
    logs: SqlLogStore
    tasks: SqlTaskStore
    late: SqlLateOutputStore
    agents: SqlAgentStore
    scripts: SqlScriptStore


@dataclass(frozen=True, slots=True)
class Concepts:
    """Every concept of one server, ready for its routes and loops."""

    authenticator: Authenticator
    auth: AuthDeps
    workspaces: WorkspaceDeps
    configs: ConfigDeps
    states: StateDeps
    logs: LogSystem
    tasks: TaskDeps
    agents: AgentDeps
    scripts: ScriptDeps
    retention: RetentionDeps


def build_concepts(parts: Parts) -> Concepts:
    """Join stores, parts and neighbours, from the ground up."""
    stores = _stores()
    auth = AuthDeps(parts.database, stores.auth, parts.issuer, parts.clock)
    workspaces = _workspaces(parts, stores)
    configs = _configs(parts, stores)
    states = _states(parts, stores)
    logs = assemble_logs(
        database_backing(parts.database, parts.blobs),
        hub=parts.hub,
        clock=parts.clock,
        registry=parts.registry,
        scratch=parts.scratch,
    )
    tasks = TaskDeps(
        transactions=parts.database,
        store=stores.tasks,
        late=stores.late,
        log=logs.logs,
        agents=stores.agents,
        tokens=parts.issuer,
        keyring=parts.keyring,
        blobs=parts.blobs,
        workspaces=workspaces,
        configs=configs,
        states=states,
        hub=parts.hub,
        clock=parts.clock,
        lease_seconds=parts.settings.lease_seconds,
        lost_script_seconds=parts.settings.lost_script_seconds,
    )
    agents = AgentDeps(
        transactions=parts.database,
        store=stores.agents,
        tokens=parts.issuer,
        auth=auth,
        tasks=tasks,
        hub=parts.hub,
        clock=parts.clock,
        dispatcher=Dispatcher(tasks, parts.hub),
    )
    return Concepts(
        authenticator=_authenticator(parts, stores),
        auth=auth,
        workspaces=workspaces,
        configs=configs,
        states=states,
        logs=logs,
        tasks=tasks,
        agents=agents,
        scripts=_scripts(parts, stores, auth, tasks),
        retention=_retention(parts, stores),
    )


def _stores() -> Stores:
    return Stores(
        auth=SqlAuthStore(),
        workspaces=SqlWorkspaceStore(),
        variables=SqlVariableStore(),
        configs=SqlConfigurationStore(),
        states=SqlStateStore(),
        logs=SqlLogStore(),
        tasks=SqlTaskStore(),
        late=SqlLateOutputStore(),
        agents=SqlAgentStore(),
        scripts=SqlScriptStore(),
    )


def _authenticator(parts: Parts, stores: Stores) -> Authenticator:
    leases = CurrentLeases(parts.database, stores.tasks, parts.clock)
    return Authenticator(parts.database, stores.auth, parts.issuer, leases, parts.clock)


def _workspaces(parts: Parts, stores: Stores) -> WorkspaceDeps:
    tasks = WorkspaceTasks(stores.tasks, stores.logs, stores.late)
    return WorkspaceDeps(
        transactions=parts.database,
        store=stores.workspaces,
        variables=stores.variables,
        organizations=stores.auth,
        pools=stores.agents,
        tasks=tasks,
        # tasks name configurations and states, so they go first
        belongings=(
            tasks,
            StateBelongings(stores.states),
            ConfigurationBelongings(stores.configs),
        ),
        blobs=parts.blobs,
        keyring=parts.keyring,
        clock=parts.clock,
        hub=parts.hub,
    )


def _scripts(
    parts: Parts, stores: Stores, auth: AuthDeps, tasks: TaskDeps
) -> ScriptDeps:
    return ScriptDeps(
        transactions=parts.database,
        store=stores.scripts,
        auth=auth,
        tasks=tasks,
        pools=stores.agents,
        keyring=parts.keyring,
        clock=parts.clock,
    )


def _retention(parts: Parts, stores: Stores) -> RetentionDeps:
    return RetentionDeps(
        transactions=parts.database,
        scripts=stores.scripts,
        logs=stores.logs,
        late=stores.late,
        blobs=parts.blobs,
        clock=parts.clock,
        metrics=RetentionMetrics(parts.registry),
        days=parts.settings.log_retention_days or None,
    )


def _configs(parts: Parts, stores: Stores) -> ConfigDeps:
    return ConfigDeps(
        transactions=parts.database,
        store=stores.configs,
        workspaces=StateLocks(stores.workspaces),
        blobs=parts.blobs,
        clock=parts.clock,
        max_bytes=parts.settings.configuration_bytes,
    )


def _states(parts: Parts, stores: Stores) -> StateDeps:
    return StateDeps(
        transactions=parts.database,
        store=stores.states,
        locks=StateLocks(stores.workspaces),
        blobs=parts.blobs,
        keyring=parts.keyring,
        clock=parts.clock,
        hub=parts.hub,
        max_bytes=parts.settings.state_bytes,
    )
