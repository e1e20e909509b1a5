"""Who may do what, over HTTP with a real server: members, teams, grants and narrowed tokens."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from sluice.server.serving import Serving
from tests.server.conftest import signed_in

Json = dict[str, Any]


@dataclass
class Person:
    """Somebody with a token."""

    id: str
    http: httpx2.AsyncClient

    async def ask(
        self, method: str, path: str, body: Json | None = None, *, expect: int = 200
    ) -> Any:
        answer = await self.http.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == expect, (method, path, answer.text)
        return answer.json() if answer.content else None

    async def get(self, path: str, *, expect: int = 200) -> Any:
        return await self.ask("GET", path, expect=expect)

    async def post(self, path: str, body: Json | None = None, expect: int = 201) -> Any:
        return await self.ask("POST", path, body, expect=expect)


@dataclass
class Site:
    """A server with an administrator, the organization `acme` and two workspaces in it."""

    server: Serving
    stack: AsyncExitStack
    admin: Person
    net: str
    dns: str

    async def person(self, name: str, *, role: str | None = None) -> Person:
        """A new user, as a member where a role is given."""
        made = await self.admin.post("/users", {"name": name})
        if role is not None:
            await self.admin.post(
                "/organizations/acme/members", {"user": name, "role": role}
            )
        token = await self.admin.post(f"/users/{made['id']}/tokens", {"name": "t"})
        return await self.holder(made["id"], token["token"])

    async def holder(self, user_id: str, secret: str) -> Person:
        """Somebody with this token."""
        http = httpx2.AsyncClient(
            base_url=self.server.url,
            trust_env=False,
            timeout=40,
            headers={"authorization": f"Bearer {secret}"},
        )
        return Person(user_id, await self.stack.enter_async_context(http))

    async def team(self, name: str, *people: Person, **fields: Any) -> str:
        """A new team with these people in it."""
        made = await self.admin.post(
            "/organizations/acme/teams", {"name": name, **fields}
        )
        for person in people:
            await self.admin.post(f"/teams/{made['id']}/members", {"user": person.id})
        return str(made["id"])


@pytest.fixture
async def site(server: Serving) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(signed_in(server))
        me = (await http.get("/api/v1/auth/me")).json()
        admin = Person(me["id"], http)
        await admin.post("/organizations", {"name": "acme"})
        inside = [
            await admin.post("/organizations/acme/workspaces", {"name": name})
            for name in ("net", "dns")
        ]
        yield Site(server, stack, admin, inside[0]["id"], inside[1]["id"])


async def levels(person: Person, workspace_id: str) -> set[str]:
    """Which of the levels' permissions somebody has in a workspace."""
    found = await person.get(f"/workspaces/{workspace_id}/permissions")
    return set(found["permissions"]) & {"read", "plan", "apply", "admin_workspace"}


async def test_the_maker_of_an_organization_owns_it(site: Site) -> None:
    members = await site.admin.get("/organizations/acme/members")
    assert [(one["name"], one["role"]) for one in members] == [("ada", "owner")]
    default = await site.admin.get("/organizations/default/members")
    assert [(one["name"], one["role"]) for one in default] == [("ada", "owner")]
    renamed = await site.admin.ask("PATCH", "/organizations/acme", {"name": "acme2"})
    assert renamed["name"] == "acme2"
    await site.admin.get("/organizations/acme", expect=404)
    await site.admin.ask(
        "PATCH", "/organizations/acme2", {"name": "default"}, expect=409
    )


async def test_a_stranger_sees_no_organization(site: Site) -> None:
    bob = await site.person("bob")
    assert await bob.get("/organizations") == []
    for path in ("", "/members", "/teams", "/permissions"):
        hidden = await bob.get(f"/organizations/acme{path}", expect=404)
        nothing = await bob.get(f"/organizations/none{path}", expect=404)
        assert hidden["detail"].replace("acme", "none") == nothing["detail"]
    await bob.get(f"/workspaces/{site.net}/permissions", expect=404)
    await bob.get("/users", expect=403)
    await bob.post("/organizations", {"name": "own"}, expect=403)


async def test_a_member_reads_and_an_owner_manages(site: Site) -> None:
    bob = await site.person("bob", role="member")
    eve = await site.person("eve")
    assert [one["name"] for one in await bob.get("/organizations")] == ["acme"]
    names = [one["name"] for one in await bob.get("/organizations/acme/members")]
    assert names == ["ada", "bob"]
    new = {"user": "eve"}
    await bob.post("/organizations/acme/members", new, expect=403)
    await bob.post("/organizations/acme/teams", {"name": "x"}, expect=403)
    await bob.ask("PATCH", "/organizations/acme", {"name": "x"}, expect=403)
    path = f"/organizations/acme/members/{bob.id}"
    await site.admin.ask("PATCH", path, {"role": "owner"})
    await bob.post("/organizations/acme/members", new)
    assert await levels(bob, site.net) == {"read", "plan", "apply", "admin_workspace"}
    await bob.ask("DELETE", f"/organizations/acme/members/{site.admin.id}", expect=204)
    last = await bob.ask("DELETE", path, expect=409)
    assert "last owner" in last["detail"]
    assert await levels_or_hidden(eve, site.net) == set()


async def levels_or_hidden(person: Person, workspace_id: str) -> set[str]:
    """As `levels`; empty where the workspace is hidden."""
    answer = await person.http.get(f"/api/v1/workspaces/{workspace_id}/permissions")
    return set() if answer.status_code == 404 else await levels(person, workspace_id)


async def test_a_team_gives_its_level_everywhere_and_its_permissions(
    site: Site,
) -> None:
    bob = await site.person("bob", role="member")
    assert await levels_or_hidden(bob, site.net) == set()
    team = await site.team("ops", bob, level="plan", permissions=["manage_pools"])
    for workspace in (site.net, site.dns):
        assert await levels(bob, workspace) == {"read", "plan"}
    there = (await bob.get("/organizations/acme/permissions"))["permissions"]
    assert "manage_pools" in there
    assert "manage_scripts" not in there
    await site.admin.ask("PATCH", f"/teams/{team}", {"level": None})
    assert await levels_or_hidden(bob, site.net) == set()
    await site.admin.ask("PATCH", f"/teams/{team}", {"level": "apply"})
    assert await levels(bob, site.net) == {"read", "plan", "apply"}
    await site.admin.ask("DELETE", f"/teams/{team}/members/{bob.id}", expect=204)
    assert await levels_or_hidden(bob, site.net) == set()


async def test_grants_open_one_workspace_and_end_with_membership(site: Site) -> None:
    bob = await site.person("bob", role="member")
    eve = await site.person("eve", role="member")
    team = await site.team("ops", eve)
    access = f"/workspaces/{site.net}/access"
    await site.admin.ask("PUT", f"{access}/teams/{team}", {"level": "read"})
    await site.admin.ask("PUT", f"{access}/users/{bob.id}", {"level": "read"})
    await site.admin.ask("PUT", f"{access}/users/{bob.id}", {"level": "admin"})
    assert await levels(eve, site.net) == {"read"}
    assert await levels_or_hidden(eve, site.dns) == set()
    # who administers a workspace says who else may
    listed = await bob.get(access)
    assert [(one["name"], one["level"]) for one in listed] == [
        ("ops", "read"),
        ("bob", "admin"),
    ]
    await eve.get(access, expect=403)
    await eve.ask("PUT", f"{access}/users/{eve.id}", {"level": "admin"}, expect=403)
    await bob.ask("DELETE", f"{access}/teams/{team}", expect=204)
    assert await levels_or_hidden(eve, site.net) == set()
    await bob.ask("DELETE", f"{access}/teams/{team}", expect=404)
    member = f"/organizations/acme/members/{bob.id}"
    await site.admin.ask("DELETE", member, expect=204)
    assert await levels_or_hidden(bob, site.net) == set()
    # and nothing comes back with them
    await site.admin.post("/organizations/acme/members", {"user": "bob"})
    assert await levels_or_hidden(bob, site.net) == set()


async def test_grants_go_to_members_and_own_teams_alone(site: Site) -> None:
    bob = await site.person("bob")
    await site.admin.post("/organizations", {"name": "other"})
    foreign = await site.admin.post("/organizations/other/teams", {"name": "x"})
    access = f"/workspaces/{site.net}/access"
    level = {"level": "read"}
    await site.admin.ask("PUT", f"{access}/teams/{foreign['id']}", level, expect=404)
    await site.admin.ask("PUT", f"{access}/teams/team-none", level, expect=404)
    refused = await site.admin.ask("PUT", f"{access}/users/{bob.id}", level, expect=404)
    assert "add them to it first" in refused["detail"]


async def test_grants_go_with_their_workspace(site: Site) -> None:
    access = f"/workspaces/{site.net}/access"
    await site.admin.ask("PUT", f"{access}/users/{site.admin.id}", {"level": "read"})
    await site.admin.ask("DELETE", f"/workspaces/{site.net}", expect=204)
    await site.admin.get(access, expect=404)


async def test_a_disabled_user_has_no_way_in(site: Site) -> None:
    bob = await site.person("bob", role="member")
    jwt = (await bob.post("/auth/token", expect=200))["token"]
    short = await site.holder(bob.id, jwt)
    await short.get("/auth/me")
    disabled = await site.admin.post(f"/users/{bob.id}/disable", expect=200)
    assert disabled["disabled_at"] is not None
    await bob.get("/auth/me", expect=401)
    await short.get("/auth/me", expect=401)
    await site.admin.post(f"/users/{bob.id}/enable", expect=200)
    await bob.get("/auth/me")
    refused = await site.admin.ask("DELETE", f"/users/{bob.id}", expect=409)
    assert "disable them instead" in refused["detail"]
    for method, path in (
        ("POST", f"/users/{site.admin.id}/disable"),
        ("DELETE", f"/users/{site.admin.id}"),
    ):
        await site.admin.ask(method, path, expect=409)
    await site.admin.ask(
        "PATCH", f"/users/{site.admin.id}", {"admin": False}, expect=409
    )


async def test_a_user_is_shown_and_changed(site: Site) -> None:
    made = await site.admin.post("/users", {"name": "bob", "email": "Bob@Example.org"})
    path = f"/users/{made['id']}"
    assert (await site.admin.get(path))["email"] == "bob@example.org"
    await site.admin.post(
        "/users", {"name": "eve", "email": "bob@example.ORG"}, expect=409
    )
    await site.admin.post("/users", {"name": "eve", "email": "no address"}, expect=422)
    changed = await site.admin.ask("PATCH", path, {"email": None, "name": "rob"})
    assert (changed["name"], changed["email"]) == ("rob", None)
    await site.admin.ask("DELETE", path, expect=204)
    await site.admin.get(path, expect=404)


async def test_a_token_is_narrowed_to_what_its_user_sees(site: Site) -> None:
    bob = await site.person("bob", role="member")
    await site.admin.ask(
        "PUT", f"/workspaces/{site.net}/access/users/{bob.id}", {"level": "apply"}
    )
    scope = {"level": "plan", "organization": "acme", "workspaces": ["net"]}
    made = await bob.post("/tokens", {"name": "ci", "scope": scope})
    assert made["scope"]["level"] == "plan"
    assert made["scope"]["workspace_ids"] == [site.net]
    listed = await bob.get("/tokens")
    assert [one["scope"] for one in listed] == [None, made["scope"]]
    narrow = await site.holder(bob.id, made["token"])
    assert await levels(narrow, site.net) == {"read", "plan"}
    await narrow.post("/tokens", {"name": "wide"}, expect=403)
    await narrow.post(f"/tokens/{made['id']}/rotate", expect=403)
    first = listed[0]["id"]
    await narrow.ask("DELETE", f"/tokens/{first}", expect=403)
    rotated = await bob.post(f"/tokens/{made['id']}/rotate")
    assert rotated["scope"] == made["scope"]
    await narrow.get("/auth/me", expect=401)
    narrow = await site.holder(bob.id, rotated["token"])
    await narrow.ask("DELETE", f"/tokens/{rotated['id']}", expect=204)
    await narrow.get("/auth/me", expect=401)
    # hidden, and not there, sound alike
    for inside in ("dns", "none", site.dns):
        wanted = {**scope, "workspaces": [inside]}
        refused = await bob.post("/tokens", {"name": "x", "scope": wanted}, expect=404)
        assert refused["detail"] == f"There is no workspace {inside}."
    for place in ("default", "none"):
        refused = await bob.post(
            "/tokens", {"name": "x", "scope": {"organization": place}}, expect=404
        )
        assert refused["detail"] == f"There is no organization {place}."
    await bob.post(
        "/tokens", {"name": "x", "scope": {"workspaces": ["net"]}}, expect=422
    )


async def test_an_administrator_narrows_by_what_the_user_sees(site: Site) -> None:
    bob = await site.person("bob", role="member")
    tokens = f"/users/{bob.id}/tokens"
    wanted = {"organization": "acme", "workspaces": [site.net]}
    await site.admin.post(tokens, {"name": "x", "scope": wanted}, expect=404)
    made = await site.admin.post(
        tokens, {"name": "x", "scope": {"organization": "acme", "level": "read"}}
    )
    narrow = await site.holder(bob.id, made["token"])
    await narrow.get("/organizations/acme")
    assert len(await site.admin.get(tokens)) == 2
    await site.admin.ask("DELETE", f"{tokens}/{made['id']}", expect=204)
    await narrow.get("/auth/me", expect=401)


async def test_an_administrators_narrow_token_administers_nothing(site: Site) -> None:
    made = await site.admin.post(
        "/tokens", {"name": "x", "scope": {"level": "apply", "organization": "acme"}}
    )
    narrow = await site.holder(site.admin.id, made["token"])
    assert [one["name"] for one in await narrow.get("/organizations")] == ["acme"]
    assert await levels(narrow, site.net) == {"read", "plan", "apply"}
    await narrow.get("/organizations/default", expect=404)
    await narrow.get("/users", expect=403)
    await narrow.post("/organizations/acme/members", {"user": "ada"}, expect=403)
    site_wide = (await narrow.get("/auth/me"))["permissions"]
    assert "admin" not in site_wide
    assert "manage_own" not in site_wide
