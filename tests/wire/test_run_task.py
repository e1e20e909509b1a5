"""What is signed and sent to run tasks."""

import json
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.run_task import (
    FINAL,
    ResultStatus,
    encode_payload,
    instant,
    sign,
    sign_webhook,
    verify,
    verify_webhook,
)

KEY = "secret"
BODY = b'{"payload_version":1}'


def test_a_signature_is_the_hex_hmac_of_the_exact_body() -> None:
    # openssl dgst -sha512 -hmac secret
    assert sign(KEY, BODY) == (
        "b5ecc85145b43a89a2343fe07c50826f277cd357be0bbafd0370449744fe7a4d"
        "b7af664dbc072c539c27508a5d064a89a5932d436eec3458521ce55b0c9d6694"
    )
    assert sign(KEY, BODY, prefixed=True) == f"sha512={sign(KEY, BODY)}"
    assert sign("", BODY) == sign("", BODY, prefixed=True) == ""


def test_only_the_bodys_own_signature_is_taken() -> None:
    good = sign(KEY, BODY)
    assert verify(KEY, BODY, good)
    assert verify(KEY, BODY, f"sha512={good}")
    assert verify(KEY, BODY, good.upper())
    for wrong in ("", good[:-1], f"sha256={good}", sign("other", BODY), "ü" * 128):
        assert not verify(KEY, BODY, wrong)
    assert not verify(KEY, BODY + b" ", good)
    assert not verify("", BODY, "")


def test_the_vector_of_standard_webhooks() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: the reference libraries' own test
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    message, timestamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    body = b'{"test": 2432232314}'
    assert sign_webhook(key, message, timestamp, body) == signature
    assert verify_webhook(key, message, timestamp, body, f"v1,AAAA {signature}")
    assert not verify_webhook(key, message, timestamp + 1, body, signature)
    assert not verify_webhook(key, "msg_other", timestamp, body, signature)
    assert not verify_webhook("", message, timestamp, body, "")


@pytest.mark.parametrize("key", ["whsec_", "whsec_%%%", "whsec_ü", "plain ü"])
def test_any_key_signs(key: str) -> None:
    signature = sign_webhook(key, "rtr-1", 5, BODY)
    assert verify_webhook(key, "rtr-1", 5, BODY, signature)
    assert not verify_webhook("other", "rtr-1", 5, BODY, signature)


_TEXT = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(_TEXT, _TEXT | st.integers(-(2**53), 2**53) | st.none()))
def test_a_payload_comes_back(payload: dict[str, object]) -> None:
    assert json.loads(encode_payload(payload)) == payload


def test_node_serialises_to_the_same_bytes(tmp_path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH")
    every = "".join(map(chr, range(0xD800))) + "\ufeff\uffff\U0001f600\U0010ffff"
    payload = {
        "run_message": every,
        "nested": {"list": [1, -1, 0, True, False, None, "", {}]},
        "empty": {},
        "payload_version": 1,
    }
    body = encode_payload(payload)
    (tmp_path / "body").write_bytes(body)
    program = (
        "const fs=require('fs');"
        "process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(process.argv[1]))))"
    )
    done = subprocess.run(
        [node, "-e", program, str(tmp_path / "body")],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    assert done.stdout == body


def test_instants_are_utc_with_milliseconds() -> None:
    at = datetime(2021, 9, 2, 14, 47, 13, 36999, tzinfo=UTC)
    assert instant(at) == "2021-09-02T14:47:13.036Z"


def test_what_is_final() -> None:
    open_ones = {ResultStatus.PENDING, ResultStatus.RUNNING}
    assert set(ResultStatus) - FINAL == open_ones
