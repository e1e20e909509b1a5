"""The masker against a naive oracle that sees the whole stream at once."""

import base64
import json
import os
import random
import string
import time
from itertools import pairwise
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluice.runner.masker import MASK, Masker, Secrets
from sluice.runner.secret_forms import secret_forms

RANDOM_SPLITS = int(os.environ.get("FUZZ_SPLITS", "100000"))
"""`make fuzz` asks for 1,000,000, from a seed of its own."""

SEED = int(os.environ.get("FUZZ_SEED", "20261121"))
# A small alphabet makes secrets overlap themselves and each other all the time.
ALPHABET = b"ab"


def spans_of(text: bytes, secrets: list[bytes]) -> list[list[int]]:
    """Runs of overlapping secrets, found by trying every secret at every place."""
    marked = [False] * len(text)
    joins = [False] * len(text)  # byte i and byte i-1 are in one secret
    for start in range(len(text)):
        for secret in secrets:
            if text.startswith(secret, start):
                for at in range(start, start + len(secret)):
                    marked[at] = True
                    joins[at] = joins[at] or at > start
    runs: list[list[int]] = []
    for at, hit in enumerate(marked):
        if hit and joins[at]:
            runs[-1][1] = at + 1
        elif hit:
            runs.append([at, at + 1])
    return runs


def masked_whole(text: bytes, secrets: list[bytes]) -> bytes:
    out = b""
    at = 0
    for start, end in spans_of(text, secrets):
        out += text[at:start] + MASK
        at = end
    return out + text[at:]


def held_back(text: bytes, secrets: list[bytes]) -> int:
    longest = 0
    for secret in secrets:
        for length in range(1, len(secret)):
            if text.endswith(secret[:length]):
                longest = max(longest, length)
    return longest


def shown_so_far(text: bytes, secrets: list[bytes]) -> bytes:
    """What must have come out when the stream stands at ``text``."""
    until = len(text) - held_back(text, secrets)
    out = b""
    at = 0
    for start, end in spans_of(text, secrets):
        if start >= until:
            break
        out += text[at:start] + MASK
        at = end
    return out + text[at:until]


def feed_all(masker: Masker, blocks: list[bytes]) -> bytes:
    return b"".join([masker.feed(block) for block in blocks]) + masker.finish()


def split_at(text: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


words = st.text(alphabet="ab", min_size=4, max_size=9).map(str.encode)


@settings(max_examples=400, deadline=None)
@given(
    secrets=st.lists(words, min_size=1, max_size=5),
    blocks=st.lists(
        st.text(alphabet="abc", max_size=12).map(str.encode), min_size=1, max_size=12
    ),
)
@example(secrets=[b"aaaab"], blocks=[b"aaa", b"aaab"])
@example(secrets=[b"abcd", b"cdef"], blocks=[b"xabcd", b"ef!"])
@example(secrets=[b"abcd", b"cdefgh"], blocks=[b"xabcd", b"ef!"])
@example(secrets=[b"abcdefgh", b"cdef"], blocks=[b"abcdef", b"gx"])
def test_each_block_shows_exactly_what_is_safe(
    secrets: list[bytes], blocks: list[bytes]
) -> None:
    masker = Masker(Secrets(secrets))
    text = b""
    shown = b""
    for block in blocks:
        text += block
        shown += masker.feed(block)
        assert shown == shown_so_far(text, secrets)
    assert shown + masker.finish() == masked_whole(text, secrets)


def test_a_secret_split_at_every_byte_never_shows() -> None:
    secret = b"hunter2-hunter2-hunter3"
    text = b"before " + secret + b" after"
    for cut in range(len(text) + 1):
        got = feed_all(Masker(Secrets([secret])), [text[:cut], text[cut:]])
        assert got == b"before *** after"
    one_by_one = [text[at : at + 1] for at in range(len(text))]
    assert feed_all(Masker(Secrets([secret])), one_by_one) == b"before *** after"


def test_a_hundred_thousand_random_splits_leak_nothing() -> None:
    """Self-overlapping secrets, random text, random cuts: always what the oracle says."""
    print(f"FUZZ_SEED={SEED} FUZZ_SPLITS={RANDOM_SPLITS}")
    rng = random.Random(SEED)
    done = 0
    while done < RANDOM_SPLITS:
        secrets = [
            bytes(rng.choices(ALPHABET, k=rng.randint(4, 8)))
            for _ in range(rng.randint(1, 4))
        ]
        parts = [
            rng.choice([*secrets, bytes(rng.choices(b"abc", k=rng.randint(0, 6)))])
            for _ in range(rng.randint(1, 5))
        ]
        # Sometimes only the beginning of a secret, so that it must be held and released.
        parts.append(rng.choice(secrets)[: rng.randint(0, 8)])
        text = b"".join(parts)
        expected = masked_whole(text, secrets)
        patterns = Masker(Secrets(secrets))
        for _ in range(50):
            cuts = [rng.randint(0, len(text)) for _ in range(rng.randint(1, 6))]
            assert feed_all(patterns, split_at(text, cuts)) == expected, (secrets, text)
            done += 1


def test_all_forms_of_many_secrets_in_random_pieces_leak_nothing() -> None:
    print(f"FUZZ_SEED={SEED} FUZZ_SPLITS={RANDOM_SPLITS}")
    rng = random.Random(SEED)
    letters = string.ascii_letters + string.digits + '"\\<>&+/ é'
    values = ["".join(rng.choices(letters, k=rng.randint(4, 24))) for _ in range(50)]
    forms = list(secret_forms(values).patterns)
    secrets = Secrets(forms)
    for _ in range(RANDOM_SPLITS // 650):
        parts = [rng.choice(forms) for _ in range(4)]
        parts += [rng.choice(forms)[: rng.randint(0, 9)] for _ in range(4)]
        parts += [rng.randbytes(rng.randint(0, 20)) for _ in range(3)]
        rng.shuffle(parts)
        text = b"".join(parts)
        expected = masked_whole(text, forms)
        for _ in range(20):
            cuts = [rng.randint(0, len(text)) for _ in range(rng.randint(1, 30))]
            assert feed_all(Masker(secrets), split_at(text, cuts)) == expected


def test_whatever_encodes_a_secret_in_random_pieces_leaks_nothing() -> None:
    """Encoders at work in the midst of other text, cut anywhere, down to single bytes."""
    print(f"FUZZ_SEED={SEED} FUZZ_SPLITS={RANDOM_SPLITS}")
    rng = random.Random(SEED + 1)
    letters = string.ascii_letters + string.digits + '"\\<>&+/=:@ é'
    for _ in range(RANDOM_SPLITS // 500):
        value = "".join(rng.choices(letters, k=rng.randint(12, 40))).strip()
        if len(value) < 8:
            continue
        encoded = encodings(value, rng)
        masker_of = Secrets(secret_forms([value]).patterns)
        text = b"\n".join(encoded)
        cut = [
            sorted(rng.choices(range(len(text)), k=rng.randint(1, 60))) for _ in "123"
        ]
        for cuts in (*cut, list(range(len(text)))):
            got = feed_all(Masker(masker_of), split_at(text, cuts))
            assert value.encode() not in got
            for form, line in zip(encoded, got.split(b"\n"), strict=True):
                assert MASK in line, (value, form, line)


def encodings(value: str, rng: random.Random) -> list[bytes]:
    """A secret as programs write it, each on a line, in the midst of something else."""
    raw = value.encode()
    before = rng.randbytes(rng.randint(0, 5))
    after = rng.randbytes(rng.randint(0, 5))
    return [
        b"plain " + raw + b".",
        base64.b64encode(before + raw + after),
        base64.urlsafe_b64encode(before + raw + after),
        json.dumps({"key": value}).encode(),
        json.dumps({"key": value}, ensure_ascii=False).encode(),
        json.dumps(json.dumps({"key": value})).encode(),
        b"https://user:" + quote(value, safe="").encode() + b"@host/",
        urlencode({"key": value}).encode(),
    ]


def test_overlapping_secrets_make_one_mask_and_adjacent_ones_two() -> None:
    masker = Masker(Secrets([b"secret", b"retold"]))
    assert feed_all(masker, [b"secretold"]) == MASK
    assert feed_all(masker, [b"secretsecret"]) == MASK * 2


def test_without_secrets_all_bytes_pass_unchanged() -> None:
    block = bytes(range(256))
    assert Masker(Secrets([])).feed(block) == block


def test_what_could_not_begin_a_secret_is_not_held() -> None:
    masker = Masker(Secrets([b"hunter2"]))
    assert masker.feed(b"a line\n") == b"a line\n"
    assert masker.feed(b"hunt") == b""
    assert masker.feed(b"ing\n") == b"hunting\n"
    assert masker.feed(b"hunter") == b""
    assert masker.finish() == b"hunter"


def test_a_pattern_too_short_to_be_masked_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than 4"):
        Masker(Secrets([b"abc"]))


@pytest.mark.parametrize("size", [100, 4_000, 60_000])
def test_long_secrets_are_masked_across_small_blocks(size: int) -> None:
    rng = random.Random(size)
    secret = rng.randbytes(size)
    text = rng.randbytes(500) + secret + rng.randbytes(500)
    blocks = [text[at : at + 77] for at in range(0, len(text), 77)]
    start = text.index(secret)
    expected = text[:start] + MASK + text[start + size :]
    assert feed_all(Masker(Secrets([secret])), blocks) == expected


def test_many_patterns_beyond_the_automatons_fast_form_still_mask() -> None:
    rng = random.Random(3)
    secrets = [rng.randbytes(3000) for _ in range(60)]
    text = b"x".join(secrets)
    assert feed_all(Masker(Secrets(secrets)), [text]) == b"x".join(
        [MASK] * len(secrets)
    )


def test_masking_keeps_up_with_a_fast_process() -> None:
    """A generous floor, in the processor's own time; `bench/` measures the real number."""
    rng = random.Random(5)
    secrets = [rng.randbytes(16).hex().encode() for _ in range(200)]
    masker = Masker(Secrets(secrets))
    block = (b"module.vpc.aws_subnet.private[7]: Still creating...\n" * 6000)[:262_144]
    started = time.process_time()
    for _ in range(40):
        masker.feed(block)
    speed = 40 * len(block) / (time.process_time() - started)
    assert speed > 50e6
