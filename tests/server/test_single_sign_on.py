"""Single sign-on: through a real provider's pages, and against one that lies."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings, load_settings
from tests.server.conftest import signed_in
from tests.server.openid_rig import (
    CLIENT,
    SECRET,
    Asked,
    Liar,
    liar,
    mock_provider,
    new_key,
)
from tests.server.sign_in_rig import COOKIE

LOGIN = "/api/v1/auth/oidc/login"
CALLBACK = "/api/v1/auth/oidc/callback"


def with_provider(
    settings: ServerSettings, issuer: str, **more: object
) -> ServerSettings:
    return load_settings(
        {
            "data_dir": settings.data_dir,
            "port": 0,
            "shutdown_seconds": 2,
            "oidc_issuer": issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "oidc_name": "Example ID",
            **more,
        }
    )


@asynccontextmanager
async def browser_of(server: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=server.url, trust_env=False, timeout=60
    ) as client:
        yield client


async def through_provider(
    browser: httpx2.AsyncClient, subject: str, next_path: str = "/"
) -> httpx2.Response:
    """From the button, over the provider's form, and back: the callback's answer."""
    asked = Asked.of(await browser.get(LOGIN, params={"next": next_path}))
    form = await browser.get(asked.url)
    assert form.status_code == 200
    answered = await browser.post(asked.url, data={"sub": subject})
    assert answered.status_code == 302, answered.text
    back = answered.headers["location"]
    assert back.startswith(str(browser.base_url).rstrip("/") + CALLBACK + "?")
    return await browser.get(back)


async def test_a_person_signs_in_through_a_real_provider(
    settings: ServerSettings,
) -> None:
    grace = {
        "sub": "grace-1",
        "preferred_username": "grace",
        "email": "Grace@Example.com",
        "email_verified": True,
        "groups": ["ops", "others"],
    }
    with mock_provider(grace) as issuer:
        chosen = with_provider(settings, issuer)
        async with serving(chosen) as server, signed_in(server) as admin:
            made = await admin.post(
                "/api/v1/organizations/default/teams",
                json={"name": "operators", "level": "plan", "sso_group": "ops"},
            )
            assert made.status_code == 201, made.text
            async with browser_of(server) as browser:
                methods = (await browser.get("/api/v1/auth/methods")).json()
                assert methods["sso"] is True
                assert methods["sso_name"] == "Example ID"
                assert methods["sso_url"] == LOGIN
                answer = await through_provider(browser, "grace-1", "/tasks?x=1")
                assert answer.status_code == 302, answer.text
                assert answer.headers["location"] == "/tasks?x=1"
                assert browser.cookies[COOKIE].startswith("sle_")
                assert "sluice_oidc" not in browser.cookies
                me = (await browser.get("/api/v1/auth/me")).json()
                assert (me["name"], me["admin"]) == ("grace", False)
                seen = await browser.get("/api/v1/organizations/default")
                assert seen.status_code == 200, seen.text
                team = f"/api/v1/teams/{made.json()['id']}/members"
                members = (await admin.get(team)).json()
                assert "grace" in json.dumps(members)
            async with browser_of(server) as again:
                await through_provider(again, "grace-1")
                same = (await again.get("/api/v1/auth/me")).json()
                assert same["id"] == me["id"]


# --- against a liar -------------------------------------------------------------


@dataclass
class Sso:
    """A server, its provider, and one browser."""

    server: Serving
    provider: Liar
    browser: httpx2.AsyncClient
    admin: httpx2.AsyncClient

    async def ask(self, **query: str) -> Asked:
        """Begin in the browser; the provider knows the nonce from here on."""
        asked = Asked.of(await self.browser.get(LOGIN, params=query))
        self.provider.nonce = asked.query["nonce"]
        return asked

    async def answer(self, asked: Asked, **changes: str) -> httpx2.Response:
        """Come back to the callback."""
        query = {"state": asked.query["state"], "code": "code-1", **changes}
        return await self.browser.get(CALLBACK, params=query)


@asynccontextmanager
async def sso_of(settings: ServerSettings, **more: object) -> AsyncIterator[Sso]:
    async with liar() as provider:
        chosen = with_provider(settings, provider.issuer, **more)
        async with (
            serving(chosen) as server,
            signed_in(server) as admin,
            browser_of(server) as browser,
        ):
            yield Sso(server, provider, browser, admin)


@pytest.fixture
async def sso(settings: ServerSettings) -> AsyncIterator[Sso]:
    async with sso_of(settings) as found:
        yield found


async def test_the_question_has_all_that_binds_the_answer(sso: Sso) -> None:
    asked = await sso.ask()
    query = asked.query
    assert query["redirect_uri"] == sso.server.url + CALLBACK
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert "openid" in query["scope"].split()
    assert (await sso.answer(asked)).status_code == 302
    [exchange] = sso.provider.exchanges
    digest = hashlib.sha256(exchange["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert challenge == query["code_challenge"]
    assert exchange["redirect_uri"] == query["redirect_uri"]
    assert "client_secret" not in exchange


LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://elsewhere.example.com"},
    "another audience": {"aud": "another"},
    "two audiences and no party": {"aud": [CLIENT, "another"]},
    "another party": {"azp": "another"},
    "expired": {"exp": 1_000_000_000},
    "no end": {"exp": None},
    "from the future": {"iat": 4_000_000_000},
    "not yet": {"nbf": 4_000_000_000},
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 7},
}


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_signs_nobody_in(sso: Sso, name: str) -> None:
    sso.provider.claims = LIES[name]
    answer = await sso.answer(await sso.ask())
    assert answer.status_code == 401, answer.text
    assert COOKIE not in sso.browser.cookies


async def test_no_signature_or_a_shared_secrets_signs_nobody_in(sso: Sso) -> None:
    asked = await sso.ask()
    good = sso.provider.id_token().split(".")
    nothing = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    embedded = base64.urlsafe_b64encode(
        json.dumps(
            {
                "alg": "RS256",
                "jwk": (stranger := new_key("one")).as_dict(private=False),
            }
        ).encode()
    ).decode()
    lies = [
        f"{nothing}.{good[1]}.",
        f"{nothing}.{good[1]}.{good[2]}",
        f"{embedded}.{good[1]}.{good[2]}",
        sso.provider.by_shared_secret(),
        good[0],
        "",
        "x" * 100_000,
        f"{good[0]}.{good[1]}.{good[2][:-6]}AAAAAA",
    ]
    assert stranger.kid == "one"
    for number, lie in enumerate(lies):
        sso.provider.token = lie
        asked = await sso.ask()
        answer = await sso.answer(asked, code=f"code-{number}")
        assert answer.status_code == 401, (lie[:50], answer.text)
    assert COOKIE not in sso.browser.cookies


async def test_another_key_by_a_known_name_signs_nobody_in(sso: Sso) -> None:
    sso.provider.published = [sso.provider.key]
    sso.provider.key = new_key("one")
    assert (await sso.answer(await sso.ask())).status_code == 401


async def test_keys_are_rotated(sso: Sso, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await sso.answer(await sso.ask())).status_code == 302
    calls = sso.provider.jwks_calls
    sso.provider.key = new_key("two")
    sso.provider.published = []
    # too soon after the last look: an unknown name makes nobody call all the time
    refused = await sso.answer(await sso.ask(), code="code-2")
    assert refused.status_code == 401
    assert sso.provider.jwks_calls == calls
    monkeypatch.setattr("sluice.auth.oidc_provider.REFETCH_SECONDS", -1.0)
    assert (await sso.answer(await sso.ask(), code="code-3")).status_code == 302
    assert sso.provider.jwks_calls == calls + 1


async def test_the_answer_belongs_to_one_question_of_one_browser(sso: Sso) -> None:
    asked = await sso.ask()
    assert (await sso.answer(asked, state="another")).status_code == 401
    async with browser_of(sso.server) as other:
        query = {"state": asked.query["state"], "code": "code-1"}
        stolen = await other.get(CALLBACK, params=query)
        assert stolen.status_code == 401
        assert COOKIE not in other.cookies
    kept = sso.browser.cookies["sluice_oidc"]
    assert (await sso.answer(asked)).status_code == 302
    sso.browser.cookies.set("sluice_oidc", kept)
    replayed = await sso.answer(asked, code="code-2")
    assert replayed.status_code == 401
    assert len(sso.provider.exchanges) == 1
    sso.browser.cookies.set("sluice_oidc", kept[:-2] + "xx")
    assert (await sso.answer(asked)).status_code == 401


async def test_a_code_is_good_once(sso: Sso) -> None:
    assert (await sso.answer(await sso.ask(), code="same")).status_code == 302
    again = await sso.answer(await sso.ask(), code="same")
    assert again.status_code == 401
    assert "code" in again.json()["detail"]


async def test_the_provider_may_say_no(sso: Sso) -> None:
    asked = await sso.ask()
    answer = await sso.answer(asked, code="", error="access_denied")
    assert answer.status_code == 401
    assert "access_denied" not in answer.text
    assert sso.provider.exchanges == []


async def test_another_providers_answer_is_not_taken(sso: Sso) -> None:
    asked = await sso.ask()
    answer = await sso.answer(asked, iss="https://elsewhere.example.com")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("/tasks/task-1", "/tasks/task-1"),
        ("https://evil.example.com/", "/"),
        ("//evil.example.com/", "/"),
        ("/\\evil.example.com", "/"),
        ("/\t/evil.example.com", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
async def test_nobody_is_sent_elsewhere(sso: Sso, given: str, found: str) -> None:
    answer = await sso.answer(await sso.ask(next=given))
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"] == found


async def test_a_provider_that_sends_too_much_or_nothing(
    sso: Sso, monkeypatch: pytest.MonkeyPatch
) -> None:
    sso.provider.oversized = True
    answer = await sso.answer(await sso.ask())
    assert (answer.status_code, "too large" in answer.text) == (503, True)
    sso.provider.oversized, sso.provider.slow = False, True
    provider = sso.server.concepts.signing_in.sso
    assert provider is not None
    monkeypatch.setattr(provider.provider, "_call_seconds", 0.5)
    answer = await sso.answer(await sso.ask(), code="code-2")
    assert (answer.status_code, "in time" in answer.text) == (503, True)


async def test_discovery_of_another_issuer_is_not_taken(sso: Sso) -> None:
    sso.provider.discovery = {"issuer": "https://elsewhere.example.com"}
    answer = await sso.browser.get(LOGIN)
    assert answer.status_code == 503
    assert "oidc_issuer" in answer.json()["detail"]


async def test_user_info_of_somebody_else_is_not_taken(sso: Sso) -> None:
    sso.provider.claims = {"groups": None}
    sso.provider.userinfo = {"sub": "subject-2"}
    assert (await sso.answer(await sso.ask())).status_code == 401


async def test_an_address_alone_makes_nobody_somebody_else(sso: Sso) -> None:
    made = await sso.admin.post(
        "/api/v1/users", json={"name": "root", "email": "grace@example.com"}
    )
    assert made.status_code == 201, made.text
    assert (await sso.answer(await sso.ask())).status_code == 302
    me = (await sso.browser.get("/api/v1/auth/me")).json()
    assert me["id"] != made.json()["id"]


@pytest.mark.parametrize(
    ("verified", "linked"), [(True, True), (False, False), (None, False)]
)
async def test_a_verified_address_leads_to_its_user_where_that_is_set(
    settings: ServerSettings, verified: object, linked: object
) -> None:
    async with sso_of(settings, oidc_link_by_email=True) as sso:
        made = await sso.admin.post(
            "/api/v1/users", json={"name": "root", "email": "grace@example.com"}
        )
        sso.provider.claims = {"email_verified": verified}
        assert (await sso.answer(await sso.ask())).status_code == 302
        me = (await sso.browser.get("/api/v1/auth/me")).json()
        assert (me["id"] == made.json()["id"]) is linked


@pytest.mark.parametrize(
    ("claims", "userinfo"),
    [
        ({"email_verified": None}, {"email": "own@x.test", "email_verified": True}),
        ({"email_verified": []}, {}),
    ],
)
async def test_an_address_is_verified_only_by_who_names_it(
    settings: ServerSettings, claims: dict[str, object], userinfo: dict[str, object]
) -> None:
    """User info that verifies one address says nothing of another in the ID token."""
    async with sso_of(settings, oidc_link_by_email=True) as sso:
        made = await sso.admin.post(
            "/api/v1/users", json={"name": "root", "email": "grace@example.com"}
        )
        sso.provider.claims, sso.provider.userinfo = claims, userinfo
        assert (await sso.answer(await sso.ask())).status_code == 302
        me = (await sso.browser.get("/api/v1/auth/me")).json()
        assert me["id"] != made.json()["id"]


async def test_strangers_stay_out(settings: ServerSettings) -> None:
    async with sso_of(settings, oidc_create_users=False) as sso:
        answer = await sso.answer(await sso.ask())
        assert (answer.status_code, "oidc_create_users" in answer.text) == (403, True)


async def test_other_domains_stay_out(settings: ServerSettings) -> None:
    lies: list[dict[str, object]] = [
        {},
        {"email": "a@corp.example.com", "email_verified": False},
        {"email": "a@corp.example.com.evil.com"},
        {"email": None},
    ]
    async with sso_of(settings, oidc_allowed_domains="corp.example.com") as sso:
        for number, claims in enumerate(lies):
            sso.provider.claims = claims
            answer = await sso.answer(await sso.ask(), code=f"code-{number}")
            assert answer.status_code == 403, claims
        sso.provider.claims = {"email": "a@Corp.example.com"}
        assert (await sso.answer(await sso.ask(), code="last")).status_code == 302


async def test_groups_put_into_teams_and_take_out_again(
    settings: ServerSettings,
) -> None:
    chosen = sso_of(settings, oidc_admin_group="admins")
    async with chosen as sso:
        admin = sso.admin
        teams = {}
        for name in ("ops", "manual"):
            made = await admin.post(
                "/api/v1/organizations/default/teams",
                json={"name": name, "level": "read", "sso_group": name},
            )
            teams[name] = made.json()["id"]
        sso.provider.claims = {"groups": ["ops", "admins"]}
        assert (await sso.answer(await sso.ask())).status_code == 302
        me = (await sso.browser.get("/api/v1/auth/me")).json()
        assert me["admin"] is True
        put = await admin.post(
            f"/api/v1/teams/{teams['manual']}/members", json={"user": me["id"]}
        )
        assert put.status_code == 201, put.text
        sso.provider.claims = {"groups": []}
        assert (await sso.answer(await sso.ask(), code="2")).status_code == 302
        me = (await sso.browser.get("/api/v1/auth/me")).json()
        assert me["admin"] is False
        ops, manual = [
            (await admin.get(f"/api/v1/teams/{teams[name]}/members")).text
            for name in ("ops", "manual")
        ]
        assert me["id"] not in ops
        assert me["id"] in manual


async def test_a_disabled_user_stays_out(sso: Sso) -> None:
    assert (await sso.answer(await sso.ask())).status_code == 302
    me = (await sso.browser.get("/api/v1/auth/me")).json()
    done = await sso.admin.post(f"/api/v1/users/{me['id']}/disable")
    assert done.status_code == 200, done.text
    assert (await sso.answer(await sso.ask(), code="2")).status_code == 401


async def test_the_first_user_is_an_administrator(settings: ServerSettings) -> None:
    async with liar() as provider:
        chosen = with_provider(settings, provider.issuer, oidc_admin_group="admins")
        async with serving(chosen) as server, browser_of(server) as browser:
            sso = Sso(server, provider, browser, browser)
            answer = await sso.answer(await sso.ask())
            assert (answer.status_code, "setup token" in answer.text) == (403, True)
            provider.claims = {"groups": ["admins"]}
            assert (await sso.answer(await sso.ask(), code="2")).status_code == 302
            assert (await browser.get("/api/v1/auth/me")).json()["admin"] is True


async def test_without_a_provider_there_is_none(client: httpx2.AsyncClient) -> None:
    methods = (await client.get("/api/v1/auth/methods")).json()
    assert (methods["password"], methods["sso"]) == (True, False)
    assert (await client.get(LOGIN)).status_code == 404
