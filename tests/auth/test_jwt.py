import base64
import json
from datetime import timedelta

import pytest
from joserfc import jwt as jose
from joserfc.jwk import OctKey

from sluice.auth.jwt import TokenIssuer
from sluice.auth.keyring import derive
from sluice.auth.model import AgentPrincipal, TaskPrincipal, UserPrincipal
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import AgentId, LeaseId, OrganizationId, PoolId, TaskId, UserId
from tests.auth.conftest import TurnedClock

KEY = bytes(range(32))
USER = UserPrincipal(UserId("user-1"), "ada", admin=True)


@pytest.fixture
def issuer(clock: TurnedClock) -> TokenIssuer:
    return TokenIssuer([KEY], clock)


def forged(clock: TurnedClock, key: bytes = KEY, **changes: object) -> str:
    claims = {
        "iss": "sluice",
        "aud": "sluice-api",
        "sub": "user-1",
        "jti": "x",
        "exp": int(clock.now().timestamp()) + 60,
        "kind": "user",
        "name": "ada",
        "admin": True,
        **changes,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    signing = OctKey.import_key(derive(key, "sluice jwt v1"))
    return jose.encode({"alg": "HS256"}, present, signing, algorithms=["HS256"])


def test_a_users_token_names_the_user_for_a_quarter_of_an_hour(issuer, clock):
    token, expires_at = issuer.user(USER)
    assert issuer.verify(token) == USER
    assert expires_at == clock.now() + timedelta(minutes=15)


def test_an_agents_and_a_tasks_token_carry_their_ids(issuer):
    agent, _ = issuer.agent(AgentId("a"), PoolId("p"), OrganizationId("o"), 60)
    task, _ = issuer.task(TaskId("t"), LeaseId("l"), OrganizationId("o"), 60)
    assert issuer.verify(agent) == AgentPrincipal(
        AgentId("a"), PoolId("p"), OrganizationId("o")
    )
    assert issuer.verify(task) == TaskPrincipal(
        TaskId("t"), LeaseId("l"), OrganizationId("o")
    )


def test_each_token_is_unlike_the_others(issuer):
    assert issuer.user(USER)[0] != issuer.user(USER)[0]


def test_an_expired_token_is_refused(issuer, clock):
    token, expires_at = issuer.user(USER)
    clock.at = expires_at + timedelta(seconds=6)
    with pytest.raises(UnauthorizedError, match="expired"):
        issuer.verify(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "elsewhere"},
        {"aud": "elsewhere"},
        {"exp": None},
        {"jti": None},
        {"sub": None},
        {"kind": "god"},
    ],
)
def test_a_well_signed_token_with_wrong_claims_is_refused(issuer, clock, changes):
    with pytest.raises(UnauthorizedError):
        issuer.verify(forged(clock, **changes))


def test_the_forger_of_these_tests_can_make_a_good_one(issuer, clock):
    assert issuer.verify(forged(clock)) == USER


def test_another_key_does_not_sign_for_us(issuer, clock):
    with pytest.raises(UnauthorizedError, match="another server has made it"):
        issuer.verify(forged(clock, key=bytes(32)))


def test_the_algorithm_none_is_refused(issuer, clock):
    payload = forged(clock).split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=")
    with pytest.raises(UnauthorizedError):
        issuer.verify(f"{header.decode()}.{payload}.")


@pytest.mark.parametrize("rubbish", ["x", "a.b.c", "..", "ä.ö.ü", "a" * 5000])
def test_rubbish_is_refused(issuer, rubbish):
    with pytest.raises(UnauthorizedError, match="not one that a Sluice server makes"):
        issuer.verify(rubbish)


def test_tokens_of_the_former_key_stay_valid(clock):
    token, _ = TokenIssuer([KEY], clock).user(USER)
    rotated = TokenIssuer([bytes(32), KEY], clock)
    assert rotated.verify(token) == USER
