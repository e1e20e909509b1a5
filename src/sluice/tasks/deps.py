"""What the verbs of tasks work with, put together once by the composition root."""

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.auth.keyring import KeyRing
from sluice.base.clock import Clock
from sluice.base.transactions import Transactions
from sluice.blobs.store import Blobs
from sluice.configs.actions import ConfigDeps
from sluice.events.hub import Hub
from sluice.state.actions import StateDeps
from sluice.tasks.ports import (
    AgentFacts,
    GateKeeper,
    LateOutputStore,
    LogBook,
    TaskIdentities,
    TaskStore,
    TaskTokens,
    TaskWatcher,
)
from sluice.tasks.quota import UNLIMITED, Quota
from sluice.workspaces.actions import WorkspaceDeps

LEASE_SECONDS = 60.0
LOST_SCRIPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class TaskDeps:
    """Stores, neighbours and rules of tasks.

    ``keepers`` answer at gates, ``watchers`` write down what becomes of tasks; ``identities`` issues identity tokens, where something does.
    ``lost_script_seconds`` is how long a begun script waits for an agent that was lost.
    """

    transactions: Transactions
    store: TaskStore
    late: LateOutputStore
    log: LogBook
    agents: AgentFacts
    tokens: TaskTokens
    keyring: KeyRing
    blobs: Blobs
    workspaces: WorkspaceDeps
    configs: ConfigDeps
    states: StateDeps
    hub: Hub
    clock: Clock
    keepers: Sequence[GateKeeper] = ()
    watchers: Sequence[TaskWatcher] = ()
    lease_seconds: float = LEASE_SECONDS
    lost_script_seconds: float = LOST_SCRIPT_SECONDS
    quota: Quota = UNLIMITED
    identities: TaskIdentities | None = None
