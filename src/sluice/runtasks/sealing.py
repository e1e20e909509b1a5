"""How a run task's key is kept: sealed, bound to its run task, and never shown again."""

from dataclasses import replace

from sluice.auth.keyring import KeyRing
from sluice.runtasks.model import RunTask


def with_key(keyring: KeyRing, run_task: RunTask, key: str | None) -> RunTask:
    """The run task with this key; None keeps the one it has, an empty one takes it away."""
    if key is None:
        return run_task
    sealed = keyring.seal(key.encode(), _seal_name(run_task)) if key else None
    return replace(run_task, sealed_key=sealed)


def key_of(keyring: KeyRing, run_task: RunTask) -> str:
    """The key in the clear; empty where calls are not signed.

    Raises:
        UnsealError: it cannot be opened.
    """
    if run_task.sealed_key is None:
        return ""
    return keyring.open(run_task.sealed_key, _seal_name(run_task)).decode()


def _seal_name(run_task: RunTask) -> str:
    return f"run-task-key:{run_task.id}"
