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
TaskId = NewType("TaskId", str)
LeaseId = NewType("LeaseId", str)

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 16


def random_id(prefix: str) -> str:
    """An unguessable id such as ``task-8fQ2…`` (about 93 bits)."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


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


def new_task_id() -> TaskId:
    """An id for a task."""
    return TaskId(random_id("task"))


def new_lease_id() -> LeaseId:
    """An id for a lease."""
    return LeaseId(random_id("lease"))


def new_client_id() -> str:
    """A UUID for one viewer of a live stream."""
    return str(uuid.uuid4())
