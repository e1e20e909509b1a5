"""Scenario 7: how fast the masker is with 50 secrets, and that nothing leaks at any split."""

import itertools
import random
import secrets
import time

from sluice.runner.masker import MASK, Masker, Secrets
from sluice.runner.secret_forms import secret_forms

SECRETS = 50
BLOCK = 192 * 1024


def text_of(size: int, *, seed: int = 7) -> bytes:
    """Terraform-like text of ``size`` bytes."""
    rng = random.Random(seed)
    block = "".join(
        f"aws_instance.node[{rng.randrange(1000)}]: Still creating..."
        f" [{rng.randrange(100)}m{rng.randrange(60)}s elapsed]"
        f" id=i-{rng.getrandbits(64):x}\n"
        for _ in range(10_000)
    ).encode()
    return (block * (size // len(block) + 1))[:size]


def speed(megabytes: int = 64) -> dict[str, float]:
    """MB/s with all forms of 50 secrets."""
    planted = Secrets(
        secret_forms(secrets.token_urlsafe(24) for _ in range(SECRETS)).patterns
    )
    text = text_of(megabytes * 1_000_000)
    blocks = [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)]
    masker = Masker(planted)
    begun = time.perf_counter()
    size = sum(len(masker.feed(block)) for block in blocks) + len(masker.finish())
    seconds = time.perf_counter() - begun
    if size != len(text):
        raise RuntimeError("text without a secret was changed")
    return {"mb_per_s": megabytes / seconds}


def speed_of_replace(megabytes: int = 4) -> dict[str, float]:
    """The peer: a loop of `bytes.replace` over the same forms, which sees no splits."""
    patterns = secret_forms(secrets.token_urlsafe(24) for _ in range(SECRETS)).patterns
    text = text_of(megabytes * 1_000_000)
    blocks = [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)]
    begun = time.perf_counter()
    for block in blocks:
        for pattern in patterns:
            block.replace(pattern, MASK)
    return {"mb_per_s": megabytes / (time.perf_counter() - begun)}


def leaks(splits: int = 100_000, *, seed: int = 11) -> int:
    """In how many of ``splits`` random splittings any byte of a secret's form came out.

    The text around the secrets has no character in common with them, so every such
    character in the output is a leak, and every missing one a loss.
    """
    rng = random.Random(seed)
    alphabet = "abcdefgh"
    values = ["".join(rng.choices(alphabet, k=rng.randrange(8, 40))) for _ in range(50)]
    planted = Secrets([value.encode() for value in values])
    bad = 0
    for _ in range(splits):
        pieces = []
        for _ in range(rng.randrange(1, 5)):
            pieces.append("-" * rng.randrange(1, 12))
            pieces.append(rng.choice(values))
        text = "".join([*pieces, "-"]).encode()
        cuts = sorted(rng.randrange(len(text)) for _ in range(rng.randrange(1, 6)))
        masker = Masker(planted)
        bounds = [0, *cuts, len(text)]
        shown = b"".join(
            masker.feed(text[begin:end]) for begin, end in itertools.pairwise(bounds)
        )
        shown += masker.finish()
        whole = "".join([*("***" if at % 2 else one for at, one in enumerate(pieces))])
        bad += shown != whole.encode() + b"-"
    return bad
