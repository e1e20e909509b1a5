"""Reading a call: origins, and what must be in it."""

import pytest

from sluice.base.errors import ForbiddenError, InvalidInputError
from sluice.receiver.calls import Trust, check_host, origin, read_call

FIELDS = (
    b'"access_token":"t","stage":"post_plan","task_result_id":"r",'
    b'"task_result_callback_url":"https://a/b"'
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://Example.com/x?y", "https://example.com:443"),
        ("https://example.com:443", "https://example.com:443"),
        ("http://example.com", "http://example.com:80"),
        ("http://[::1]:8460/x", "http://[::1]:8460"),
        ("https://example.com@evil.example/x", ""),
        ("https://example.com.evil.example", "https://example.com.evil.example:443"),
        ("ftp://example.com", ""),
        ("//example.com", ""),
        ("https://", ""),
        ("https://example.com:99999", ""),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_origins(address: str, expected: str) -> None:
    assert origin(address) == expected


def test_what_a_service_does_not_need_may_be_anything() -> None:
    call = read_call(b"{" + FIELDS + b',"workspace_name":null,"new":[1,{}]}')
    assert call.workspace_name is None
    assert not call.verifies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"access_token":"t"}',
        b"{" + FIELDS.replace(b'"r"', b'""') + b"}",
        b"{" + FIELDS.replace(b'"r"', b"7") + b"}",
        b"{" + FIELDS.replace(b'"r"', b'"' + b"r" * 300 + b'"') + b"}",
        b"{" + FIELDS.replace(b'"t"', b'""') + b"}",
        b"{" + FIELDS.replace(b'"t"', rb'"a\r\nX-Other: b"') + b"}",
        b"{" + FIELDS.replace(b'"t"', '"é"'.encode()) + b"}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_call(body: bytes) -> None:
    with pytest.raises(InvalidInputError, match="no run task call"):
        read_call(body)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8470",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "[",
    ],
)
def test_without_a_key_no_other_name_leads_here(host: str) -> None:
    with pytest.raises(ForbiddenError, match="--hmac-key-env"):
        check_host(Trust(key=""), host)
    check_host(Trust(key="a key"), host)


@pytest.mark.parametrize("host", ["127.0.0.1:8470", "localhost", "[::1]:8470"])
def test_without_a_key_this_machine_is_called(host: str) -> None:
    check_host(Trust(key=""), host)
