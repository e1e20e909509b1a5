"""Typed ids: a short prefix that names the kind, and 16 random base58 characters."""

import secrets
import uuid
from typing import NewType

OrganizationId = NewType("OrganizationId", str)
UserId = NewType("UserId", str)
TokenId = NewType("TokenId", str)
PoolId = NewType("PoolId", str)
AgentId = NewType("AgentId", str)
WorkspaceId = NewType("WorkspaceId", str)
VariableId = NewType("VariableId", str)
ConfigurationVersionId = NewType("ConfigurationVersionId", str)
StateVersionId = NewType("StateVersionId", str)
ScriptId = NewType("ScriptId", str)
TaskId = NewType("TaskId", str)
LeaseId = NewType("LeaseId", str)
RunTaskId = NewType("RunTaskId", str)
WorkspaceRunTaskId = NewType("WorkspaceRunTaskId", str)
RunTaskStageId = NewType("RunTaskStageId", str)
RunTaskResultId = NewType("RunTaskResultId", str)
RunTaskOutcomeId = NewType("RunTaskOutcomeId", str)
AuditEntryId = NewType("AuditEntryId", str)
PolicyId = NewType("PolicyId", str)
TeamId = NewType("TeamId", str)
NotificationId = NewType("NotificationId", str)
DeliveryId = NewType("DeliveryId", str)

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 16
_EVEN = 256 - 256 % len(_ALPHABET)
"""Bytes below it stand for all letters alike; others are left out."""


def random_id(prefix: str) -> str:
    """An unguessable id such as ``task-8fQ2…`` (about 93 bits)."""
    letters = [
        _ALPHABET[drawn % len(_ALPHABET)]
        for drawn in secrets.token_bytes(2 * _LENGTH)
        if drawn < _EVEN
    ]
    if len(letters) < _LENGTH:
        return random_id(prefix)
    return f"{prefix}-" + "".join(letters[:_LENGTH])


def new_organization_id() -> OrganizationId:
    """An id for an organization."""
    return OrganizationId(random_id("org"))


def new_user_id() -> UserId:
    """An id for a user."""
    return UserId(random_id("user"))


def new_token_id() -> TokenId:
    """An id for a stored token (not the secret itself)."""
    return TokenId(random_id("tok"))


def new_pool_id() -> PoolId:
    """An id for an agent pool."""
    return PoolId(random_id("pool"))


def new_agent_id() -> AgentId:
    """An id for an agent."""
    return AgentId(random_id("agent"))


def new_workspace_id() -> WorkspaceId:
    """An id for a workspace."""
    return WorkspaceId(random_id("ws"))


def new_variable_id() -> VariableId:
    """An id for a variable."""
    return VariableId(random_id("var"))


def new_configuration_version_id() -> ConfigurationVersionId:
    """An id for a configuration version."""
    return ConfigurationVersionId(random_id("cv"))


def new_state_version_id() -> StateVersionId:
    """An id for a state version."""
    return StateVersionId(random_id("sv"))


def new_script_id() -> ScriptId:
    """An id for a registered script."""
    return ScriptId(random_id("script"))


def new_task_id() -> TaskId:
    """An id for a task."""
    return TaskId(random_id("task"))


def new_exec_id() -> AgentId:
    """An id that stands for one run of `sluice exec` where others have an agent's."""
    return AgentId(random_id("exec"))


def new_lease_id() -> LeaseId:
    """An id for a lease."""
    return LeaseId(random_id("lease"))


def new_run_task_id() -> RunTaskId:
    """An id for a run task's definition."""
    return RunTaskId(random_id("rt"))


def new_workspace_run_task_id() -> WorkspaceRunTaskId:
    """An id for a run task's attachment to a workspace."""
    return WorkspaceRunTaskId(random_id("wrt"))


def new_run_task_stage_id() -> RunTaskStageId:
    """An id for a task's stage at which run tasks are asked."""
    return RunTaskStageId(random_id("ts"))


def new_run_task_result_id() -> RunTaskResultId:
    """An id for what one run task says of one task."""
    return RunTaskResultId(random_id("rtr"))


def new_run_task_outcome_id() -> RunTaskOutcomeId:
    """An id for one outcome of a result; services give outcomes names of their own."""
    return RunTaskOutcomeId(random_id("rto"))


def new_policy_id() -> PolicyId:
    """An id for a policy."""
    return PolicyId(random_id("pol"))


def new_team_id() -> TeamId:
    """An id for a team."""
    return TeamId(random_id("team"))


def new_notification_id() -> NotificationId:
    """An id for a notification's configuration."""
    return NotificationId(random_id("ntf"))


def new_delivery_id() -> DeliveryId:
    """An id for one message of a notification; receivers know repetitions by it."""
    return DeliveryId(random_id("msg"))


def new_audit_entry_id() -> AuditEntryId:
    """An id for an entry of the audit log."""
    return AuditEntryId(random_id("audit"))


def new_client_id() -> str:
    """A UUID for one viewer of a live stream."""
    return str(uuid.uuid4())
