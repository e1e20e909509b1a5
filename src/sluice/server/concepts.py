"""What each concept needs, built from the parts: the one place where they are joined."""

from dataclasses import dataclass

from sluice.agents.actions import AgentDeps
from sluice.agents.dispatcher import Dispatcher
from sluice.agents.store import SqlAgentStore
from sluice.auth.access import Access
from sluice.auth.access_store import SqlAccessStore
from sluice.auth.actions import AuthDeps
from sluice.auth.audit_api import AuditDeps
from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.authenticator import Authenticator
from sluice.auth.grant_actions import GrantBelongings
from sluice.auth.issuer_key_store import SqlIssuerKeyStore
from sluice.auth.store import SqlAuthStore
from sluice.auth.workload_issuer import IssuerDeps, WorkloadIssuer
from sluice.configs.actions import ConfigDeps
from sluice.configs.belongings import ConfigurationBelongings
from sluice.configs.store import SqlConfigurationStore
from sluice.costs.deps import CostDeps
from sluice.logs.assembly import LogSystem, assemble_logs, database_backing
from sluice.logs.store import SqlLogStore
from sluice.notifications.belongings import NotificationBelongings
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.store import SqlNotificationStore
from sluice.policies.deps import PolicyDeps
from sluice.runtasks.actions import RunTaskDeps
from sluice.runtasks.belongings import AttachmentBelongings
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.keeper import RunTaskKeeper
from sluice.runtasks.metrics import RunTaskMetrics
from sluice.runtasks.result_store import SqlResultStore
from sluice.runtasks.result_tokens import OpenResults
from sluice.runtasks.store import SqlRunTaskStore
from sluice.scripts.actions import ScriptDeps
from sluice.scripts.retention import RetentionDeps, RetentionMetrics
from sluice.scripts.store import SqlScriptStore
from sluice.server.judging import (
    JudgingStores,
    cost_deps,
    judging_keepers,
    policy_deps,
)
from sluice.server.notifying import notification_deps, notification_recorder
from sluice.server.parts import Parts
from sluice.server.places import locators
from sluice.server.signing_in import SigningIn, signing_in
from sluice.state.actions import StateDeps
from sluice.state.belongings import StateBelongings
from sluice.state.store import SqlStateStore
from sluice.tasks.belongings import WorkspaceTasks
from sluice.tasks.deps import TaskDeps
from sluice.tasks.late_store import SqlLateOutputStore
from sluice.tasks.leases import CurrentLeases
from sluice.tasks.quota import Quota
from sluice.tasks.store import SqlTaskStore
from sluice.workspaces.actions import WorkspaceDeps
from sluice.workspaces.names import NamedWorkspaces
from sluice.workspaces.state_locks import StateLocks
from sluice.workspaces.store import SqlVariableStore, SqlWorkspaceStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The SQL stores; they hold nothing but what they know of the tables."""

    auth: SqlAuthStore
    audit: SqlAuditLog
    workspaces: SqlWorkspaceStore
    variables: SqlVariableStore
    configs: SqlConfigurationStore
    states: SqlStateStore
    logs: SqlLogStore
    tasks: SqlTaskStore
    late: SqlLateOutputStore
    agents: SqlAgentStore
    scripts: SqlScriptStore
    run_tasks: SqlRunTaskStore
    results: SqlResultStore


@dataclass(frozen=True, slots=True)
class Concepts:
    """Every concept of one server, ready for its routes and loops."""

    authenticator: Authenticator
    access: Access
    auth: AuthDeps
    signing_in: SigningIn
    audit: AuditDeps
    workspaces: WorkspaceDeps
    configs: ConfigDeps
    states: StateDeps
    logs: LogSystem
    tasks: TaskDeps
    agents: AgentDeps
    scripts: ScriptDeps
    run_tasks: RunTaskDeps
    asking: AskingDeps
    policies: PolicyDeps
    costs: CostDeps
    notifications: NotificationDeps
    retention: RetentionDeps
    identities: WorkloadIssuer


def build_concepts(parts: Parts) -> Concepts:
    """Join stores, parts and neighbours, from the ground up."""
    stores = _stores()
    auth = AuthDeps(
        parts.database,
        stores.auth,
        parts.issuer,
        parts.clock,
        workspaces=NamedWorkspaces(stores.workspaces),
        token_days_max=parts.settings.token_days_max,
    )
    workspaces = _workspaces(parts, stores)
    configs = _configs(parts, stores)
    states = _states(parts, stores)
    logs = assemble_logs(
        database_backing(parts.database, parts.blobs),
        hub=parts.hub,
        clock=parts.clock,
        registry=parts.registry,
        scratch=parts.scratch,
        limit=parts.settings.log_bytes_per_task,
    )
    asked = RunTaskMetrics(parts.registry)
    judging = JudgingStores()
    identities = WorkloadIssuer(issuer_deps(parts))
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
        keepers=(
            RunTaskKeeper(stores.run_tasks, stores.results, parts.clock, asked),
            *judging_keepers(parts, judging),
        ),
        watchers=(notification_recorder(parts, stores.workspaces, stores.auth),),
        lease_seconds=parts.settings.lease_seconds,
        lost_script_seconds=parts.settings.lost_script_seconds,
        quota=_quota(parts),
        identities=identities,
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
    authenticator = _authenticator(parts, stores)
    return Concepts(
        authenticator=authenticator,
        access=Access(parts.database, SqlAccessStore(), locators()),
        auth=auth,
        signing_in=signing_in(parts, auth, stores.audit, authenticator),
        audit=AuditDeps(auth, stores.audit),
        workspaces=workspaces,
        configs=configs,
        states=states,
        logs=logs,
        tasks=tasks,
        agents=agents,
        scripts=_scripts(parts, stores, auth, tasks),
        run_tasks=_run_tasks(parts, stores, auth),
        asking=_asking(parts, stores, tasks, asked),
        policies=policy_deps(parts, judging, auth, tasks),
        costs=cost_deps(parts, judging, auth, tasks),
        notifications=notification_deps(parts, auth, stores.workspaces, stores.audit),
        retention=_retention(parts, stores),
        identities=identities,
    )


def issuer_deps(parts: Parts) -> IssuerDeps:
    """What issuing identity tokens needs; commands need it beside a server, too."""
    return IssuerDeps(
        transactions=parts.database,
        keys=SqlIssuerKeyStore(),
        organizations=SqlAuthStore(),
        keyring=parts.keyring,
        clock=parts.clock,
        url=parts.settings.resolved_public_url,
        token_seconds=parts.settings.identity_token_seconds,
    )


def _quota(parts: Parts) -> Quota:
    return Quota(
        organization=parts.settings.tasks_unfinished_per_organization,
        workspace=parts.settings.tasks_unfinished_per_workspace,
        running=parts.settings.tasks_running_per_organization,
    )


def _stores() -> Stores:
    return Stores(
        auth=SqlAuthStore(),
        audit=SqlAuditLog(),
        workspaces=SqlWorkspaceStore(),
        variables=SqlVariableStore(),
        configs=SqlConfigurationStore(),
        states=SqlStateStore(),
        logs=SqlLogStore(),
        tasks=SqlTaskStore(),
        late=SqlLateOutputStore(),
        agents=SqlAgentStore(),
        scripts=SqlScriptStore(),
        run_tasks=SqlRunTaskStore(),
        results=SqlResultStore(),
    )


def _authenticator(parts: Parts, stores: Stores) -> Authenticator:
    return Authenticator(
        parts.database,
        stores.auth,
        parts.issuer,
        CurrentLeases(parts.database, stores.tasks, parts.clock),
        parts.clock,
        results=OpenResults(parts.database, stores.results, parts.clock),
    )


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
            AttachmentBelongings(stores.run_tasks),
            NotificationBelongings(SqlNotificationStore()),
            GrantBelongings(stores.auth),
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


def _run_tasks(parts: Parts, stores: Stores, auth: AuthDeps) -> RunTaskDeps:
    return RunTaskDeps(
        transactions=parts.database,
        store=stores.run_tasks,
        auth=auth,
        workspaces=stores.workspaces,
        audit=stores.audit,
        endpoints=parts.outgoing,
        public_url=parts.settings.resolved_public_url,
        keyring=parts.keyring,
        clock=parts.clock,
    )


def _asking(
    parts: Parts, stores: Stores, tasks: TaskDeps, metrics: RunTaskMetrics
) -> AskingDeps:
    return AskingDeps(
        tasks=tasks,
        definitions=stores.run_tasks,
        store=stores.results,
        tokens=parts.issuer,
        sender=parts.outgoing,
        keyring=parts.keyring,
        audit=stores.audit,
        metrics=metrics,
        public_url=parts.settings.resolved_public_url,
        calls_at_once=parts.settings.run_task_calls_at_once,
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
