from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sluice.wire.audit_chain import Broken, ChainCheck, Link, entry_hash, read_link
from sluice.wire.shapes.audit import AuditEntry

AT = datetime(2026, 11, 21, 10, 0, 0, 5, tzinfo=UTC)


def chain(count: int) -> list[AuditEntry]:
    made, last = [], ""
    for number in range(1, count + 1):
        entry = AuditEntry(
            number=number,
            id=f"audit-{number}",
            at=AT,
            organization_id=None,
            actor="ann",
            action="a.b",
            subject="s",
            detail={"ä": "1", "a": "2"},
            previous_hash=last,
        )
        last = entry_hash(entry)
        made.append(entry.model_copy(update={"hash": last}))
    return made


def checked(check: ChainCheck, entries: list[AuditEntry]) -> Broken | None:
    return next(filter(None, map(check.take, entries)), None) or check.end()


def test_the_hash_is_the_same_for_ever() -> None:
    """Who changes how entries are hashed breaks every chain there is."""
    [first, second] = chain(2)
    assert first.hash == FIRST
    assert second.previous_hash == first.hash
    again = AuditEntry.model_validate_json(first.model_dump_json())
    assert entry_hash(again) == first.hash


FIRST = "ae3146f16ed831cedfa50d9955bf0136945549b569e857942433218a0d81ce19"


def test_a_later_part_is_checked_from_its_first() -> None:
    part = chain(6)[3:]
    assert checked(ChainCheck(), part) == Broken(1, "entries 1 to 3 are missing")
    check = ChainCheck(from_start=False)
    assert checked(check, part) is None
    assert (check.first, check.last.number) == (4, 6)
    noted = ChainCheck(Link(2, "0" * 64), from_start=False)
    assert checked(noted, part) == Broken(
        2, "this entry was noted, and is not in the file"
    )


def test_a_filtered_part_may_have_gaps_and_no_more() -> None:
    entries = chain(6)
    some = [entries[0], entries[2], entries[3]]
    assert checked(ChainCheck(from_start=False, whole=False), some) is None
    odd = [entries[2], entries[0]]
    broken = checked(ChainCheck(from_start=False, whole=False), odd)
    assert broken == Broken(1, "it comes twice, or out of its order")
    eve = entries[2].model_copy(update={"actor": "eve"})
    broken = checked(ChainCheck(from_start=False, whole=False), [entries[0], eve])
    assert broken is not None
    assert broken.number == 3


def test_a_noted_head_is_read() -> None:
    digest = "0a" * 32
    assert read_link(f" 42:{digest}\n") == Link(42, digest)
    assert str(replace(read_link(f"42:{digest}"), number=7)) == f"7:{digest}"


@pytest.mark.parametrize(
    "text", ["", "42", "x:" + "0" * 64, "0:" + "0" * 64, "1:0a", "1:" + "G" * 64]
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has to"):
        read_link(text)
