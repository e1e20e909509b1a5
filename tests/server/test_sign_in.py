"""Signing in by password: the cookie, what has to come with it, and how all of it ends."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings
from tests.server.conftest import signed_in
from tests.server.sign_in_rig import COOKIE, NAME, PASSWORD, log_in, page, put_user

EVIL = "https://evil.example.com"


@pytest.fixture
async def admin(server: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    async with signed_in(server) as client:
        yield client


@pytest.fixture
async def browser(
    server: Serving, admin: httpx2.AsyncClient
) -> AsyncIterator[httpx2.AsyncClient]:
    """The page of a user who is not signed in yet."""
    await put_user(admin)
    async with page(server) as client:
        yield client


async def test_a_cookie_opens_and_its_marks_are_right(
    browser: httpx2.AsyncClient,
) -> None:
    answer = await log_in(browser)
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == NAME
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}=sle_")
    marks = {mark.strip().lower() for mark in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= marks
    assert "secure" not in marks
    assert "domain" not in cookie.lower()
    assert "sle_" not in answer.text
    me = await browser.get("/api/v1/auth/me")
    assert me.json()["name"] == NAME


async def test_the_cookie_is_the_hosts_own_where_people_come_by_https(
    settings: ServerSettings,
) -> None:
    https = settings.model_copy(update={"public_url": "https://sluice.example.com"})
    async with serving(https) as server:
        local = f"http://127.0.0.1:{server.port}"
        async with httpx2.AsyncClient(base_url=local, trust_env=False) as client:
            first = await client.post(
                "/api/v1/auth/setup", json={"token": server.setup_token, "name": "ada"}
            )
            client.headers["authorization"] = f"Bearer {first.json()['token']}"
            await put_user(client)
            del client.headers["authorization"]
            answer = await client.post(
                "/api/v1/auth/login",
                json={"name": NAME, "password": PASSWORD},
                headers={"origin": "https://sluice.example.com"},
            )
            assert answer.status_code == 200, answer.text
            cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-sluice_session=sle_")
    assert "; Secure" in cookie


async def test_what_changes_something_needs_the_csrf_token(
    browser: httpx2.AsyncClient,
) -> None:
    await log_in(browser)
    good = browser.headers.pop("x-csrf-token")
    for wrong in ({}, {"x-csrf-token": ""}, {"x-csrf-token": good[:-1] + "x"}):
        answer = await browser.post("/api/v1/tokens", json={"name": "t"}, headers=wrong)
        assert answer.status_code == 403, answer.text
        assert "X-CSRF-Token" in answer.json()["detail"]
    told = (await browser.get("/api/v1/auth/session")).json()["csrf_token"]
    assert told == good
    answer = await browser.post(
        "/api/v1/tokens", json={"name": "t"}, headers={"x-csrf-token": told}
    )
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_other_pages_cannot_use_the_session(
    browser: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    await log_in(browser)
    answer = await browser.post("/api/v1/tokens", json={"name": "t"}, headers=headers)
    assert answer.status_code == 403, answer.text
    refused = await browser.post(
        "/api/v1/auth/login",
        json={"name": NAME, "password": PASSWORD},
        headers=headers,
    )
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


async def test_cors_gives_other_pages_nothing_by_the_cookie(
    settings: ServerSettings,
) -> None:
    known = "https://panel.example.com"
    opened = settings.model_copy(update={"allowed_origins": [known]})
    async with serving(opened) as server, signed_in(server) as admin:
        await put_user(admin)
        async with page(server) as browser:
            await log_in(browser)
            answer = await browser.get(
                "/v1/soft/getlog?fn=x", headers={"origin": known}
            )
            assert answer.status_code == 403
            assert "access-control-allow-credentials" not in answer.headers
            asked = await browser.options(
                "/v1/soft/getlog",
                headers={
                    "origin": known,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "x-csrf-token",
                },
            )
            allowed = asked.headers.get("access-control-allow-headers", "").lower()
            assert asked.status_code == 400
            assert "x-csrf-token" not in allowed


async def test_a_cookie_counts_only_without_an_authorization_header(
    browser: httpx2.AsyncClient,
) -> None:
    await log_in(browser)
    for header in ("Bearer slu_unknown", "Bearer", "Basic eDp5", "Nonsense"):
        answer = await browser.get("/api/v1/auth/me", headers={"authorization": header})
        assert answer.status_code == 401, header


async def test_a_sessions_secret_is_no_bearer(
    server: Serving, browser: httpx2.AsyncClient
) -> None:
    await log_in(browser)
    secret = browser.cookies[COOKIE]
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as other:
        answer = await other.get(
            "/api/v1/auth/me", headers={"authorization": f"Bearer {secret}"}
        )
        assert answer.status_code == 401
        answer = await other.get(f"/api/v1/auth/me?token={secret}&ticket={secret}")
        assert answer.status_code == 401


async def test_logout_ends_the_session_and_what_was_made_of_it(
    server: Serving, browser: httpx2.AsyncClient
) -> None:
    await log_in(browser)
    secret = browser.cookies[COOKIE]
    jwt = (await browser.post("/api/v1/auth/token")).json()["token"]
    bearer = {"authorization": f"Bearer {jwt}"}
    assert (await browser.get("/api/v1/auth/me", headers=bearer)).status_code == 200
    gone = await browser.post("/api/v1/auth/logout")
    assert gone.status_code == 204, gone.text
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert COOKIE not in browser.cookies
    assert (await browser.get("/api/v1/auth/me", headers=bearer)).status_code == 401
    browser.cookies.set(COOKIE, secret)
    assert (await browser.get("/api/v1/auth/me")).status_code == 401


async def test_sessions_are_listed_and_ended(
    server: Serving, browser: httpx2.AsyncClient
) -> None:
    await log_in(browser)
    async with page(server) as other, page(server) as third:
        await log_in(other)
        await log_in(third)
        found = (await browser.get("/api/v1/auth/sessions")).json()
        assert [one["current"] for one in found] == [True, False, False]
        ended = await browser.delete(f"/api/v1/auth/sessions/{found[1]['id']}")
        assert ended.status_code == 204
        assert (await other.get("/api/v1/auth/me")).status_code == 401
        assert (await third.get("/api/v1/auth/me")).status_code == 200
        again = await browser.delete(f"/api/v1/auth/sessions/{found[1]['id']}")
        assert again.status_code == 404
        assert (await browser.delete("/api/v1/auth/sessions")).status_code == 204
        assert (await third.get("/api/v1/auth/me")).status_code == 401
        assert (await browser.get("/api/v1/auth/me")).status_code == 200


async def test_a_new_password_ends_the_other_sessions(
    server: Serving, browser: httpx2.AsyncClient
) -> None:
    await log_in(browser)
    new = "and five are even better"
    async with page(server) as other:
        await log_in(other)
        wrong = await browser.put(
            "/api/v1/auth/password",
            json={"old_password": "not that one", "new_password": new},
        )
        assert wrong.status_code == 403
        weak = await browser.put(
            "/api/v1/auth/password",
            json={"old_password": PASSWORD, "new_password": "password1234"},
        )
        assert weak.status_code == 422
        assert "password1234" not in weak.text
        done = await browser.put(
            "/api/v1/auth/password",
            json={"old_password": PASSWORD, "new_password": new},
        )
        assert done.status_code == 204, done.text
        assert (await browser.get("/api/v1/auth/me")).status_code == 200
        assert (await other.get("/api/v1/auth/me")).status_code == 401
        assert (await log_in(other)).status_code == 401
        assert (await log_in(other, password=new)).status_code == 200


async def test_a_flood_at_one_account_is_stopped_and_others_get_in(
    server: Serving, admin: httpx2.AsyncClient, browser: httpx2.AsyncClient
) -> None:
    await put_user(admin, name="linus")
    answers = [
        await log_in(browser, name="nobody-here", password="x") for _ in range(11)
    ]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await log_in(browser, name="linus")).status_code == 200


async def test_attempts_are_in_the_audit_log_without_secrets(
    admin: httpx2.AsyncClient, browser: httpx2.AsyncClient
) -> None:
    long = "x" * 120
    await log_in(browser, password="a wrong password")
    await log_in(browser, name=long, password="a wrong password")
    await log_in(browser)
    entries = await admin.get("/api/v1/audit", params={"action": "session."})
    assert entries.status_code == 200, entries.text
    assert "a wrong password" not in entries.text
    assert long not in entries.text
    assert "sle_" not in entries.text
    items = entries.json()["entries"]
    assert [item["action"] for item in items][:3] == [
        "session.open",
        "session.refuse",
        "session.refuse",
    ]
    assert [item["outcome"] for item in items][:3] == ["allowed", "denied", "denied"]
    assert items[0]["actor_id"].startswith("user-")
    assert all(
        item["detail"]["address"] == "127.0.0.1" or item.get("address")
        for item in items
    )


async def test_password_login_can_be_switched_off(settings: ServerSettings) -> None:
    without = settings.model_copy(update={"password_login": False})
    async with serving(without) as server, signed_in(server) as admin:
        await put_user(admin)
        async with page(server) as browser:
            answer = await log_in(browser)
        assert answer.status_code == 403
        assert "password_login" in answer.json()["detail"]


async def test_a_program_gets_a_named_token_for_a_password(
    server: Serving, browser: httpx2.AsyncClient
) -> None:
    asked = {"name": NAME, "password": PASSWORD, "token_name": "laptop"}
    answer = await browser.post("/api/v1/auth/login/token", json=asked)
    assert answer.status_code == 201, answer.text
    assert "set-cookie" not in answer.headers
    bearer = {"authorization": f"Bearer {answer.json()['token']}"}
    assert (await browser.get("/api/v1/auth/me", headers=bearer)).json()["name"] == NAME
    out = await browser.post("/api/v1/auth/logout", headers=bearer)
    assert out.status_code == 204
    assert (await browser.get("/api/v1/auth/me", headers=bearer)).status_code == 401


async def test_a_token_for_a_password_lives_no_longer_than_others(
    settings: ServerSettings,
) -> None:
    short = settings.model_copy(update={"token_days_max": 30})
    asked = {"name": NAME, "password": PASSWORD, "token_name": "laptop"}
    async with serving(short) as server, signed_in(server) as admin:
        await put_user(admin)
        async with page(server) as client:
            path = "/api/v1/auth/login/token"
            longer = await client.post(path, json={**asked, "expires_in_days": 31})
            assert longer.status_code == 422, longer.text
            answer = await client.post(path, json=asked)
            assert answer.status_code == 201, answer.text
            ends = datetime.fromisoformat(answer.json()["expires_at"])
            assert ends <= datetime.now(UTC) + timedelta(days=30)


async def test_a_disabled_user_gets_nowhere(
    server: Serving, admin: httpx2.AsyncClient, browser: httpx2.AsyncClient
) -> None:
    await log_in(browser)
    jwt = (await browser.post("/api/v1/auth/token")).json()["token"]
    user_id = (await browser.get("/api/v1/auth/session")).json()["user_id"]
    await disable(server, user_id)
    bearer = {"authorization": f"Bearer {jwt}"}
    assert (await browser.get("/api/v1/auth/me")).status_code == 401
    assert (await browser.get("/api/v1/auth/me", headers=bearer)).status_code == 401
    async with page(server) as other:
        assert (await log_in(other)).status_code == 401


async def disable(server: Serving, user_id: str) -> None:
    """Disable a user as an administrator's route does."""
    from dataclasses import replace

    deps = server.concepts.auth
    async with deps.transactions.write() as tx:
        user = await deps.store.get_user(tx, user_id)  # type: ignore[arg-type]
        assert user is not None
        await deps.store.save_user(tx, replace(user, disabled_at=deps.clock.now()))
