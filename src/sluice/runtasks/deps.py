"""What asking services and taking their answers works with, put together once."""

from dataclasses import dataclass

from sluice.auth.audit import AuditLog
from sluice.auth.keyring import KeyRing
from sluice.runtasks.metrics import RunTaskMetrics
from sluice.runtasks.ports import Definitions
from sluice.runtasks.result_ports import ResultStore, ResultTokens, Sender
from sluice.tasks.deps import TaskDeps

CALLS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class AskingDeps:
    """Stores, neighbours and limits.

    Attributes:
        sender: the way out to addresses that users typed.
        public_url: the server's address as services reach it, without a slash at its end.
        calls_at_once: so many services are called at the same time.
    """

    tasks: TaskDeps
    definitions: Definitions
    store: ResultStore
    tokens: ResultTokens
    sender: Sender
    keyring: KeyRing
    audit: AuditLog
    metrics: RunTaskMetrics
    public_url: str
    calls_at_once: int = CALLS_AT_ONCE
