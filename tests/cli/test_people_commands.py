"""`sluice user`, `organization`, `member`, `team`, `access` and `token`, against a real server."""

import json
import os
from dataclasses import replace
from typing import Any

from sluice.auth.model import OrganizationPermission, Role, WorkspaceLevel
from sluice.wire.shapes.people import ScopeInput
from sluice.wire.shapes.teams import MemberPatch, TeamPermission
from tests.cli.conftest import Shell


async def shown(shell: Shell, *arguments: str) -> Any:
    return json.loads(await shell.ok(*arguments, "--json"))


def as_user(shell: Shell, token: str) -> Shell:
    """The same command with another token."""
    return replace(shell, place=replace(shell.place, token=token))


def test_the_words_of_options_are_those_of_the_rules() -> None:
    levels = ScopeInput.model_json_schema()["properties"]["level"]["enum"]
    assert levels == [level.value for level in WorkspaceLevel]
    roles = MemberPatch.model_json_schema()["properties"]["role"]["enum"]
    assert roles == [role.value for role in Role]
    assert [one.value for one in TeamPermission] == [
        one.value for one in OrganizationPermission
    ]


async def test_users_are_made_changed_disabled_and_deleted(shell: Shell) -> None:
    made = await shown(shell, "user", "create", "bob", "--email", "Bob@acme.org")
    assert (made["email"], made["admin"]) == ("bob@acme.org", False)
    assert await shown(shell, "user", "show", "BOB@acme.org") == made
    assert "Changed user rob." in await shell.said(
        *("user", "update", "bob", "--name", "rob", "--no-email", "--admin")
    )
    assert "disabled" not in await shell.ok("user", "show", "rob")
    assert "Disabled user rob." in await shell.said("user", "disable", "rob")
    assert "disabled just now" in await shell.ok("user", "show", "rob")
    listed = await shell.ok("user", "list")
    assert [line.split()[3] for line in listed.splitlines()[1:]] == [
        "enabled",
        "disabled",
    ]
    await shell.said("user", "enable", made["id"])
    await shell.said("user", "update", "rob", "--no-admin")
    assert "Deleted user rob." in await shell.said("user", "delete", "rob")
    assert "sluice user list" in await shell.said("user", "show", "rob", code=5)


async def test_what_cannot_be_done_to_users_is_said(shell: Shell) -> None:
    me = (await shown(shell, "whoami"))["name"]
    assert "last enabled administrator" in await shell.said(
        "user", "disable", me, code=6
    )
    assert "Nothing to change" in await shell.said("user", "update", me, code=2)
    both = ("--email", "a@b.org", "--no-email")
    assert "not both" in await shell.said("user", "update", me, *both, code=2)
    assert "email" in await shell.said("user", "create", "x", "--email", "y", code=2)


async def test_organizations_and_their_members(shell: Shell) -> None:
    await shell.said("organization", "create", "other")
    names = [one["name"] for one in await shown(shell, "organization", "list")]
    assert names == ["acme", "default", "other"]
    assert "manage_organization" in await shell.ok("organization", "show")
    there = ("--organization", "other")
    said = await shell.said("organization", "rename", "others", *there)
    assert "Organization other is others now." in said
    await shell.said("user", "create", "bob")
    assert "bob is a member of acme now." in await shell.said("member", "add", "bob")
    assert "already" in await shell.said("member", "add", "bob", code=6)
    assert "bob is an owner" in await shell.said("member", "role", "bob", "owner")
    roles = {one["name"]: one["role"] for one in await shown(shell, "member", "list")}
    assert roles["bob"] == "owner"
    assert "bob" in await shell.ok("member", "list")
    assert "no member of acme" in await shell.said("member", "remove", "bob")
    assert "sluice member list" in await shell.said("member", "remove", "bob", code=5)
    me = (await shown(shell, "whoami"))["name"]
    last = await shell.said("member", "role", me, "member", code=6)
    assert "somebody else an owner first" in last


async def test_teams_and_what_they_are_granted(shell: Shell) -> None:
    assert "sluice team create" in await shell.said("team", "list")
    made = await shown(
        *(shell, "team", "create", "net", "--permission", "manage_pools"),
        *("--permission", "run_scripts", "--sso-group", "cn=net"),
    )
    assert made["permissions"] == ["manage_pools", "run_scripts"]
    await shell.said("user", "create", "bob")
    refused = await shell.said("team", "add", "net", "bob", code=5)
    assert "bob is no member" in refused
    await shell.said("member", "add", "bob")
    assert "bob is in the team net" in await shell.said("team", "add", "net", "bob")
    assert "cn=net" in await shell.ok("team", "list")
    text = await shell.ok("team", "show", "net")
    assert "bob" in text
    assert "manage_pools, run_scripts" in text
    both = ("--level", "read", "--no-level")
    assert "level" in await shell.said("team", "update", "net", *both, code=2)
    assert "Nothing to change" in await shell.said("team", "update", "net", code=2)
    changed = await shown(
        *(shell, "team", "update", "net", "--name", "nets"),
        *("--level", "plan", "--no-permissions", "--no-sso-group"),
    )
    assert (changed["level"], changed["permissions"], changed["sso_group"]) == (
        "plan",
        [],
        None,
    )
    await shell.house.workspace("dns")
    assert "owners" in await shell.said("access", "list", "dns")
    await shell.said("access", "grant", "dns", "apply", "--team", "nets")
    given = await shell.said("access", "grant", "dns", "read", "--user", "bob")
    assert "The user bob has read in dns now." in given
    assert [
        (one["name"], one["level"])
        for one in await shown(shell, "access", "list", "dns")
    ] == [("nets", "apply"), ("bob", "read")]
    assert "team" in await shell.ok("access", "list", "dns")
    await shell.said("access", "revoke", "dns", "--user", "bob")
    none = await shell.said("access", "revoke", "dns", "--user", "bob", code=5)
    assert "no grant" in none
    assert "--team or --user" in await shell.said("access", "revoke", "dns", code=2)
    await shell.said("team", "remove", "nets", "bob")
    await shell.said("team", "delete", "nets")
    assert await shown(shell, "access", "list", "dns") == []
    assert "sluice team list" in await shell.said("team", "show", "nets", code=5)


async def test_a_narrow_token_is_made_listed_rotated_and_revoked(
    shell: Shell,
) -> None:
    workspace = await shell.house.workspace("dns")
    await shell.said("user", "create", "bob")
    await shell.said("member", "add", "bob", "--role", "owner")
    done = await shell.ok("token", "create", "laptop", "--user", "bob")
    bob = as_user(shell, done.strip())
    place = ("--organization", "acme", "--workspace", "dns")
    secret = (await bob.ok("token", "create", "ci", "--level", "plan", *place)).strip()
    narrow = as_user(shell, secret)
    assert "ci" not in await narrow.ok("whoami")
    there = await narrow.ok("whoami", "--workspace", "dns")
    assert "plan" in there
    assert "apply" not in there
    assert await narrow.said("token", "create", "wide", code=4)
    whole = (await shown(bob, "whoami", "--organization", "acme"))["permissions"]
    assert "manage_organization" in whole
    listed = await bob.ok("token", "list")
    assert f"plan in {workspace}" in listed
    assert secret not in listed
    assert [(one["id"], one["scope"]) for one in await shown(bob, "token", "list")] == [
        (one["id"], one["scope"])
        for one in await shown(shell, "token", "list", "--user", "bob")
    ]
    rotated = (await bob.ok("token", "rotate", "ci")).strip()
    assert rotated.startswith("slu_")
    assert rotated != secret
    await narrow.said("whoami", code=4)
    await shell.said("token", "revoke", "ci", "--user", "bob")
    gone = await shell.said("token", "revoke", "ci", "--user", "bob", code=5)
    assert "sluice token list --user bob" in gone
    assert "sluice token list" in await bob.said("token", "rotate", "ci", code=5)
    await bob.said(
        *("token", "create", "x", "--organization", "acme", "--workspace", "no"),
        code=5,
    )
    said = await bob.said("token", "create", "x", "--workspace", "dns", code=2)
    assert "--organization" in said
    ends = await bob.said("token", "create", "short", "--expires-in-days", "1")
    assert "It ends on" in ends
    # nothing of it is kept where the command ran
    for folder, _, names in os.walk(shell.place.root / "config"):
        for name in names:
            text = (shell.place.root / "config" / folder / name).read_text()
            assert rotated not in text
