"""Members of organizations, teams, and what is granted to them in workspaces."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from sluice.wire.shapes.base import Input, Name, Resource
from sluice.wire.shapes.people import Level, NameOrId

Role = Literal["owner", "member"]


class TeamPermission(StrEnum):
    """What a team may do in its organization beside its workspaces."""

    MANAGE_WORKSPACES = "manage_workspaces"
    MANAGE_RUN_TASKS = "manage_run_tasks"
    MANAGE_POLICIES = "manage_policies"
    MANAGE_POOLS = "manage_pools"
    MANAGE_SCRIPTS = "manage_scripts"
    RUN_SCRIPTS = "run_scripts"
    READ_AUDIT = "read_audit"


class MemberInput(Input):
    """A user, by id, name or e-mail address, who becomes a member."""

    user: NameOrId
    role: Role = "member"


class MemberPatch(Input):
    """What a member shall be from now on."""

    role: Role


class Member(Resource):
    """A user of an organization."""

    user_id: str
    name: str
    role: Role
    disabled: bool
    created_at: datetime


class TeamInput(Input):
    """A new team; `level` is in all workspaces, those to come too."""

    name: Name
    permissions: list[TeamPermission] = Field(default=[], max_length=20)
    level: Level | None = None
    sso_group: str | None = Field(default=None, min_length=1, max_length=255)


class TeamPatch(Input):
    """Changes to a team; what is absent stays, null takes a level or a group away."""

    name: Name | None = None
    permissions: list[TeamPermission] | None = Field(default=None, max_length=20)
    level: Level | None = None
    sso_group: str | None = Field(default=None, min_length=1, max_length=255)


class Team(Resource):
    """Users of one organization who may do the same."""

    id: str
    organization_id: str
    name: str
    permissions: list[TeamPermission]
    level: Level | None
    sso_group: str | None
    created_at: datetime


class TeamMemberInput(Input):
    """A member of the organization, by id, name or e-mail address, who joins a team."""

    user: NameOrId


class TeamMember(Resource):
    """A user of a team; with `by_sso` their identity provider put them there."""

    user_id: str
    name: str
    by_sso: bool


class GrantInput(Input):
    """What a team or a user shall be able to do in a workspace."""

    level: Level


class Grant(Resource):
    """A level in one workspace, of a team or of a user: one of the two ids is there."""

    name: str
    level: Level
    team_id: str | None = None
    user_id: str | None = None
