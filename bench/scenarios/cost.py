"""Scenario 7: an idle viewer's memory, the cost of capture, the masker."""

import random
import re
import secrets
import time

from bench.house import House
from sluice.runner.masker import Masker, Secrets
from sluice.runner.secret_forms import secret_forms


def idle_memory(house: House, viewers: int = 1000) -> dict[str, float]:
    """Server memory for each of many viewers of a task that says nothing."""
    task = house.start(1, 1.0, delay=0.0)
    time.sleep(2)
    warm = house.viewers(task, 50, seconds=25)
    warm.ready()
    time.sleep(1)
    before = house.memory()
    process = house.viewers(task, viewers, seconds=60)
    process.ready()
    time.sleep(3)
    grown = house.memory() - before
    house.go()
    result = process.result()
    warm.result()
    return {"kb_per_viewer": grown / 1024 / viewers, "lines": result["lines"]}


def sample_text(size: int) -> bytes:
    """Terraform-like text of about ``size`` bytes."""
    rng = random.Random(7)
    lines = [
        f"aws_instance.node[{rng.randrange(1000)}]: Still creating..."
        f" [{rng.randrange(100)}m{rng.randrange(60)}s elapsed] id=i-{rng.getrandbits(64):x}\n"
        for _ in range(10_000)
    ]
    block = "".join(lines).encode()
    return (block * (size // len(block) + 1))[:size]


def masker(megabytes: int = 64) -> dict[str, float]:
    """MB/s of the streaming masker with 50 secrets, beside `re` and `bytes.replace`."""
    planted = [secrets.token_urlsafe(24) for _ in range(50)]
    text = sample_text(megabytes * 1_000_000)
    blocks = [text[at : at + 262_144] for at in range(0, len(text), 262_144)]
    masking = Masker(Secrets(secret_forms(planted).patterns))
    begun = time.perf_counter()
    size = sum(len(masking.feed(block)) for block in blocks) + len(masking.finish())
    ours = time.perf_counter() - begun
    assert size == len(text)
    begun = time.perf_counter()
    for block in blocks[:40]:
        for secret in planted:
            block.replace(secret.encode(), b"***")
    loop = (time.perf_counter() - begun) * len(blocks) / 40
    pattern = re.compile(b"|".join(re.escape(one.encode()) for one in planted))
    begun = time.perf_counter()
    for block in blocks[:10]:
        pattern.sub(b"***", block)
    regex = (time.perf_counter() - begun) * len(blocks) / 10
    return {
        "mb_per_s": megabytes / ours,
        "replace_loop_mb_per_s": megabytes / loop,
        "re_mb_per_s": megabytes / regex,
    }
