"""Identity tokens over real HTTP: what a stranger reads, verifies, and is told of a phase."""

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from tests.agents.house import House, Json, open_house
from tests.server.sealed_things import Place

KEY = bytes(range(32))
CONFIGURATION = "/.well-known/openid-configuration"


def number(text: str) -> int:
    return int.from_bytes(decoded(text), "big")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def verified(issuer: str, token: str) -> Json:
    """What an independent service does: no code of the server's, only its documents."""
    async with httpx2.AsyncClient(trust_env=False, timeout=40) as http:
        described = await http.get(issuer + CONFIGURATION)
        assert described.status_code == 200, described.text
        document = described.json()
        assert document["issuer"] == issuer
        assert "RS256" in document["id_token_signing_alg_values_supported"]
        jwks = (await http.get(document["jwks_uri"])).json()
    header, payload, signature = token.split(".")
    head = json.loads(decoded(header))
    assert head["alg"] == "RS256"
    (jwk,) = [key for key in jwks["keys"] if key["kid"] == head["kid"]]
    public = RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    assert public.key_size >= 2048
    signed = f"{header}.{payload}".encode()
    public.verify(decoded(signature), signed, PKCS1v15(), SHA256())
    claims: Json = json.loads(decoded(payload))
    assert claims["iss"] == issuer
    assert set(claims) <= set(document["claims_supported"])
    return claims


async def ask_for(house: House, workspace: str, **environment: str) -> None:
    for key, value in environment.items():
        await house.admin.post(
            f"/workspaces/{workspace}/variables",
            {"key": key, "value": value, "category": "env"},
            expect=201,
        )


async def start(house: House, workspace: str) -> str:
    made = await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": "plan_and_apply"}, expect=201
    )
    return str(made["id"])


@pytest.fixture
def place(tmp_path: Path, empty_database_url: str) -> Place:
    return Place(tmp_path / "server", empty_database_url)


async def test_a_stranger_can_verify_who_runs(place: Place) -> None:
    async with open_house(place.settings(KEY)) as house:
        workspace = await house.workspace("shop")
        other = await house.workspace("other")
        for one in (workspace, other):
            await ask_for(house, one, TFC_WORKLOAD_IDENTITY_AUDIENCE="vault")
        task = await start(house, workspace)
        plan = await house.work()
        (identity,) = plan.order["identities"]
        said = await verified(house.serving.url, identity["token"])
        organization = await house.admin.get("/organizations/acme")
        full = "organization:acme:project:Default Project:workspace:shop"
        times = {name: said.pop(name) for name in ("iat", "nbf", "exp", "jti")}
        assert said == {
            "iss": house.serving.url,
            "aud": "vault",
            "sub": f"{full}:run_phase:plan",
            "terraform_organization_id": organization["id"],
            "terraform_organization_name": "acme",
            "terraform_project_name": "Default Project",
            "terraform_workspace_id": workspace,
            "terraform_workspace_name": "shop",
            "terraform_full_workspace": full,
            "terraform_run_id": task,
            "terraform_run_phase": "plan",
        }
        assert times["exp"] - times["iat"] == 4 * 3600

        await plan.started()
        await plan.caller.put(f"{plan.here}/plan-file", b"PLAN")
        await plan.finish(has_changes=True)
        await house.admin.post(f"/tasks/{task}/confirm")
        apply = await house.work()
        (identity,) = apply.order["identities"]
        said = await verified(house.serving.url, identity["token"])
        assert said["sub"] == f"{full}:run_phase:apply"
        await apply.started()
        await apply.finish()

        await start(house, other)
        another = await house.work()
        (identity,) = another.order["identities"]
        said = await verified(house.serving.url, identity["token"])
        assert said["sub"] == (
            "organization:acme:project:Default Project:workspace:other:run_phase:plan"
        )


async def test_the_documents_can_be_kept_for_a_while_and_need_no_token(
    place: Place,
) -> None:
    async with open_house(place.settings(KEY)) as house:
        for path in (CONFIGURATION, "/.well-known/jwks"):
            answer = await house.http.get(path)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "public, max-age=300"
            assert answer.headers["content-type"].startswith("application/json")
        document = (await house.http.get(CONFIGURATION)).json()
        assert document["subject_types_supported"] == ["public"]
        assert document["response_types_supported"] == ["id_token"]
        (key,) = (await house.http.get("/.well-known/jwks")).json()["keys"]
        assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}
        # RFC 7638: the id is the thumbprint of the key itself
        plain = json.dumps(
            {name: key[name] for name in ("e", "kty", "n")}, separators=(",", ":")
        )
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(plain.encode()).digest())
        assert key["kid"] == thumbprint.decode().rstrip("=")


async def test_a_phase_that_asks_for_nothing_gets_nothing(place: Place) -> None:
    async with open_house(place.settings(KEY)) as house:
        await start(house, await house.workspace("plain"))
        assert (await house.work()).order["identities"] == []


async def test_what_cannot_be_asked_for_fails_the_task_and_says_why(
    place: Place,
) -> None:
    async with open_house(place.settings(KEY)) as house:
        workspace = await house.workspace("shop")
        await ask_for(house, workspace, TFC_AWS_PROVIDER_AUTH="true")
        task = await start(house, workspace)
        assert await house.pull(wait=2) is None
        failed = await house.admin.get(f"/tasks/{task}")
        assert failed["status"] == "failed"
        assert "TFC_AWS_RUN_ROLE_ARN" in failed["error"]


async def keys(place: Place, *arguments: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "sluice", "keys", *arguments],
        env=place.environment(KEY),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_keys_are_rotated_beside_a_server_while_tokens_live(place: Place) -> None:
    async with open_house(place.settings(KEY)) as house:
        url = house.serving.url
        workspace = await house.workspace("shop")
        await ask_for(house, workspace, TFC_WORKLOAD_IDENTITY_AUDIENCE="vault")
        await start(house, workspace)
        plan = await house.work()
        token = plan.order["identities"][0]["token"]
        await verified(url, token)
        assert "in an hour" in await keys(place, "rotate-issuer")
        shown: list[Any] = (await house.http.get("/.well-known/jwks")).json()["keys"]
        assert len(shown) == 2
        await verified(url, token)

        assert "from now on" in await keys(place, "rotate-issuer", "--at-once")
        (left,) = (await house.http.get("/.well-known/jwks")).json()["keys"]
        assert left not in shown
        with pytest.raises(ValueError, match="not enough values"):
            await verified(url, token)
        log = await house.admin.get("/audit?action=issuer_key.")
        assert [entry["action"] for entry in log["entries"]] == [
            "issuer_key.replace",
            "issuer_key.rotate",
        ]
        assert log["entries"][0]["subject"] == left["kid"]
