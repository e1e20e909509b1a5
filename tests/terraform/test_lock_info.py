import pytest

from sluice.terraform.lock_info import (
    BadLockInfoError,
    LockInfo,
    encode_lock_info,
    parse_lock_info,
)

SENT = (
    b'{"ID":"ab-1","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop",'
    b'"Version":"1.11.4","Created":"2026-11-21T10:00:00Z","Path":"","New":1}'
)


def test_terraforms_lock_is_read_and_written_back() -> None:
    info = parse_lock_info(SENT)
    assert info == LockInfo(
        id="ab-1",
        operation="OperationTypeApply",
        who="ann@laptop",
        version="1.11.4",
        created="2026-11-21T10:00:00Z",
    )
    assert parse_lock_info(encode_lock_info(info)) == info
    assert encode_lock_info(info).startswith(b'{"ID":"ab-1","Operation":')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no lock document"),
        (b"[]", "no lock document"),
        (b"{}", "`ID`"),
        (b'{"ID": 1}', "ID"),
        (b'{"ID": ""}', "ID is empty"),
        (b'{"ID": "a\\u0000"}', "NUL"),
        (b'{"ID": "a", "Who": "\\u0000"}', "NUL"),
        (b'{"ID": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
    ],
    ids=range(8),
)
def test_what_is_no_lock_is_said(body: bytes, said: str) -> None:
    with pytest.raises(BadLockInfoError, match=said):
        parse_lock_info(body)
