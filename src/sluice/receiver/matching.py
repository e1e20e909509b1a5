"""Decides whether a change fits conditions: by address, type, action and attributes."""

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.receiver.facts import Action, Change

Patterns = str | Iterable[str]


@dataclass(frozen=True, slots=True)
class Conditions:
    """All must hold; what is empty is no condition."""

    addresses: tuple[str, ...]
    types: tuple[str, ...]
    actions: tuple[str, ...]
    attributes: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        address: Patterns | None,
        type_: Patterns | None,
        action: Patterns | None,
        attribute: Mapping[str, Any] | None,
    ) -> "Conditions":
        """The conditions as a rule file names them.

        Raises:
            ValueError: there are none, or an action is unknown.
        """
        made = cls(
            _several(address), _several(type_), _several(action), attribute or {}
        )
        if not (made.addresses or made.types or made.actions or made.attributes):
            raise ValueError(
                "name at least one of address, type, action and attribute."
            )
        known = typing.get_args(Action)
        for word in made.actions:
            if word not in known:
                raise ValueError(f"action is one of {', '.join(known)}, not {word!r}.")
        return made

    @property
    def words(self) -> str:
        """The conditions, for people."""
        parts = [
            *(f"address {pattern}" for pattern in self.addresses),
            *(f"type {pattern}" for pattern in self.types),
            *(f"action {word}" for word in self.actions),
            *(f"attribute {path}" for path in self.attributes),
        ]
        return ", ".join(parts)

    def hold(self, change: Change) -> bool:
        """Whether a change fits all of them."""
        return (
            _any_fits(self.addresses, change.address)
            and _any_fits(self.types, change.type)
            and (not self.actions or any(_acts(change, word) for word in self.actions))
            and all(_has(change, *item) for item in self.attributes.items())
        )


def fits(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern; only ``*`` and ``?`` mean more than themselves.

    Addresses are full of brackets, so these mean nothing here.
    """
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(escaped, text, re.DOTALL) is not None


def _several(given: Patterns | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _any_fits(patterns: tuple[str, ...], text: str) -> bool:
    return not patterns or any(fits(pattern, text) for pattern in patterns)


def _acts(change: Change, word: str) -> bool:
    return change.action == word or (word == "delete" and change.deletes)


def _has(change: Change, path: str, wanted: Any) -> bool:
    found = change.at(path)
    if wanted is None:
        unset = all(value is None for value in found)
        return unset and not change.is_unknown(path)
    return any(_is(value, wanted) for value in found)


def _is(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(value, list) and not isinstance(wanted, list):
        return any(_is(item, wanted) for item in value)
    if isinstance(value, str) and isinstance(wanted, str):
        return fits(wanted, value)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)
