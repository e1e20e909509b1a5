import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sluice.auth.keyring import (
    BadKeyError,
    KeyRing,
    UnsealError,
    derive,
    encode_key,
    new_master_key,
    parse_key,
)

OLD = bytes(range(32))
NEW = bytes(range(1, 33))


def test_a_sealed_value_opens_under_the_same_name() -> None:
    ring = KeyRing([OLD])
    sealed = ring.seal(b"hunter2", "variable:var-1")
    assert b"hunter2" not in sealed
    assert ring.open(sealed, "variable:var-1") == b"hunter2"


def test_the_same_plaintext_seals_differently_each_time() -> None:
    ring = KeyRing([OLD])
    assert ring.seal(b"x", "a") != ring.seal(b"x", "a")


def test_a_value_moved_to_another_thing_does_not_open() -> None:
    ring = KeyRing([OLD])
    sealed = ring.seal(b"hunter2", "variable:var-1")
    with pytest.raises(UnsealError, match="variable:var-2"):
        ring.open(sealed, "variable:var-2")


@pytest.mark.parametrize("position", [12, 24, 71, 72, 84, -1])
def test_one_changed_bit_is_noticed(position: int) -> None:
    ring = KeyRing([OLD])
    sealed = bytearray(ring.seal(b"hunter2", "a"))
    sealed[position] ^= 1
    with pytest.raises(UnsealError, match="damaged"):
        ring.open(bytes(sealed), "a")


@pytest.mark.parametrize("length", [0, 1, 13])
def test_what_is_too_short_does_not_open(length: int) -> None:
    with pytest.raises(UnsealError):
        KeyRing([OLD]).open(bytes(length), "a")


def test_what_is_cut_short_does_not_open() -> None:
    ring = KeyRing([OLD])
    sealed = ring.seal(b"", "a")
    assert ring.open(sealed, "a") == b""
    for length in range(len(sealed)):
        with pytest.raises(UnsealError):
            ring.open(sealed[:length], "a")


def sealed_before_envelopes(master: bytes, plaintext: bytes, aad: str) -> bytes:
    """As versions before the envelope sealed: key id (1 byte), nonce, ciphertext and tag."""
    short_id = hashlib.sha256(derive(master, "sluice key id v1")).digest()[:1]
    cipher = AESGCM(derive(master, "sluice seal v1"))
    return short_id + bytes(12) + cipher.encrypt(bytes(12), plaintext, aad.encode())


def test_what_was_sealed_before_envelopes_opens_and_gets_one() -> None:
    before = sealed_before_envelopes(OLD, b"x", "a")
    ring = KeyRing([NEW, OLD])
    assert ring.open(before, "a") == b"x"
    with pytest.raises(UnsealError, match="damaged"):
        ring.open(before, "b")
    with pytest.raises(UnsealError, match="FORMER_ENCRYPTION_KEYS"):
        KeyRing([NEW]).open(before, "a")
    present = ring.reseal(before, "a")
    assert KeyRing([NEW]).open(present, "a") == b"x"


def test_two_keys_that_shared_a_short_id_both_open() -> None:
    first = sealed_before_envelopes(OLD, b"x", "a")[:1]
    twin = next(
        key
        for number in range(10_000)
        if (key := number.to_bytes(32, "big")) != OLD
        and sealed_before_envelopes(key, b"x", "a")[:1] == first
    )
    ring = KeyRing([twin, OLD])
    assert ring.open(sealed_before_envelopes(OLD, b"old", "a"), "a") == b"old"
    assert ring.open(sealed_before_envelopes(twin, b"twin", "a"), "a") == b"twin"
    assert ring.open(KeyRing([OLD]).seal(b"new", "a"), "a") == b"new"


def test_a_rotation_makes_the_envelope_anew_and_never_the_value() -> None:
    former = KeyRing([OLD]).seal(b"hunter2", "a")
    present = KeyRing([NEW, OLD]).reseal(former, "a")
    assert present[72:] == former[72:]
    assert present[:72] != former[:72]
    assert present != KeyRing([NEW, OLD]).reseal(former, "a")


def test_envelope_and_value_of_two_things_cannot_be_put_together() -> None:
    ring = KeyRing([OLD])
    one, other = ring.seal(b"1", "a"), ring.seal(b"2", "a")
    with pytest.raises(UnsealError, match="damaged"):
        ring.open(one[:72] + other[72:], "a")


def test_after_rotation_old_values_open_and_new_ones_use_the_new_key() -> None:
    sealed_before = KeyRing([OLD]).seal(b"x", "a")
    rotated = KeyRing([NEW, OLD])
    assert rotated.open(sealed_before, "a") == b"x"
    assert KeyRing([NEW]).open(rotated.seal(b"y", "a"), "a") == b"y"


def test_what_is_sealed_anew_needs_no_former_key() -> None:
    former = KeyRing([OLD]).seal(b"x", "a")
    rotated = KeyRing([NEW, OLD])
    assert not former.startswith(rotated.mark)
    present = rotated.reseal(former, "a")
    assert present.startswith(rotated.mark)
    assert KeyRing([NEW]).open(present, "a") == b"x"
    with pytest.raises(UnsealError, match="belong"):
        rotated.reseal(former, "b")


def test_a_missing_key_is_named_as_the_cause() -> None:
    sealed = KeyRing([OLD]).seal(b"x", "a")
    with pytest.raises(UnsealError, match="FORMER_ENCRYPTION_KEYS"):
        KeyRing([NEW]).open(sealed, "a")


def test_keys_are_read_as_they_are_written() -> None:
    key = new_master_key()
    assert parse_key(encode_key(key)) == key
    assert parse_key(encode_key(key).replace("+", "-").replace("/", "_")) == key


@pytest.mark.parametrize("text", ["", "short", "!" * 44, "A" * 60])
def test_a_bad_key_is_refused_with_the_way_to_make_one(text: str) -> None:
    with pytest.raises(BadKeyError, match="openssl rand"):
        parse_key(text)


def test_a_ring_needs_a_key() -> None:
    with pytest.raises(BadKeyError):
        KeyRing([])
