"""What the verbs of tasks work with, put together once by the composition root."""

from dataclasses import dataclass

from sluice.auth.keyring import KeyRing
from sluice.base.clock import Clock
from sluice.base.transactions import Transactions
from sluice.blobs.store import Blobs
from sluice.configs.actions import ConfigDeps
from sluice.events.hub import Hub
from sluice.state.actions import StateDeps
from sluice.tasks.ports import AgentFacts, LogBook, TaskStore, TaskTokens
from sluice.workspaces.actions import WorkspaceDeps

LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TaskDeps:
    """Stores, neighbours and rules of tasks."""

    transactions: Transactions
    store: TaskStore
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
    lease_seconds: float = LEASE_SECONDS
