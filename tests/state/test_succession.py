import hashlib
from dataclasses import replace

import pytest

from sluice.base.errors import ConflictError
from sluice.state.model import StateVersion
from sluice.state.succession import Verdict, successor
from sluice.terraform.statefile import parse_state
from tests.state.states import state
from tests.state.test_store import make_version


def current(serial: int = 5, content: bytes = b"old") -> StateVersion:
    return replace(
        make_version(1), serial=serial, sha256=hashlib.sha256(content).hexdigest()
    )


def judge(present: StateVersion | None, content: bytes, force: bool = False) -> Verdict:
    return successor(
        present,
        parse_state(content),
        sha256=hashlib.sha256(content).hexdigest(),
        force=force,
    )


def test_the_first_state_may_be_any() -> None:
    assert judge(None, state(serial=0)) is Verdict.STORE
    deleted = replace(current(serial=9), size_bytes=0)
    assert judge(deleted, state(serial=1, lineage="other")) is Verdict.STORE


def test_a_higher_serial_of_the_same_lineage_follows() -> None:
    assert judge(current(5), state(6)) is Verdict.STORE
    assert judge(current(5), state(600)) is Verdict.STORE


def test_the_same_state_once_more_is_known() -> None:
    content = state(5)
    assert judge(current(5, content), content) is Verdict.KNOWN
    assert judge(current(5, content), content, force=True) is Verdict.KNOWN


@pytest.mark.parametrize("serial", [5, 4, 0])
def test_a_serial_that_is_not_higher_is_refused_with_both(serial: int) -> None:
    with pytest.raises(ConflictError) as refused:
        judge(current(5), state(serial))
    assert f"serial is {serial}" in refused.value.detail
    assert "is at 5" in refused.value.detail
    assert refused.value.extra == {"current_serial": 5, "serial": serial}
    assert judge(current(5), state(serial), force=True) is Verdict.STORE


def test_another_lineage_is_refused() -> None:
    with pytest.raises(ConflictError, match=r"line-2.*line-1"):
        judge(current(5), state(6, lineage="line-2"))
    assert judge(current(5), state(6, lineage="line-2"), force=True) is Verdict.STORE
