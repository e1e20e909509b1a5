"""How a credential's scope is written where it is kept: in a row or in a token's claims."""

from collections.abc import Mapping
from typing import Any

from sluice.auth.model import UNLIMITED, Scope, WorkspaceLevel
from sluice.base.ids import OrganizationId, WorkspaceId


def scope_to_json(scope: Scope) -> dict[str, Any] | None:
    """What is stored; None for a scope that narrows nothing."""
    if scope == UNLIMITED:
        return None
    return {
        "level": scope.level.value,
        "organization": scope.organization_id,
        "workspaces": None
        if scope.workspace_ids is None
        else sorted(scope.workspace_ids),
    }


def scope_from_json(stored: Mapping[str, Any] | None) -> Scope:
    """The scope of what `scope_to_json` made."""
    if stored is None:
        return UNLIMITED
    owner, workspaces = stored["organization"], stored["workspaces"]
    return Scope(
        level=WorkspaceLevel(stored["level"]),
        organization_id=None if owner is None else OrganizationId(owner),
        workspace_ids=None
        if workspaces is None
        else frozenset(WorkspaceId(found) for found in workspaces),
    )
