"""Ids: of one length, from letters that nobody mistakes, none twice."""

from collections import Counter

from sluice.base.ids import random_id


def test_ids_name_their_kind_and_are_all_different() -> None:
    made = [random_id("task") for _ in range(2000)]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {len("task-") + 16}
    letters = Counter("".join(one.removeprefix("task-") for one in made))
    assert len(letters) == 58
    assert not set("0OIl") & letters.keys()
    # each is drawn 552 times on average; a skewed draw would show
    assert min(letters.values()) > 400
    assert max(letters.values()) < 720
