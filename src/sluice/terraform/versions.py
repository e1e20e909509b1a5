"""Which version of an engine a workspace's constraint allows, and which of several to take.

A constraint is what Terraform itself understands: ``1.11.4``, ``~> 1.11.0``,
``>= 1.5, < 2``; besides that ``latest`` (or nothing) allows every release.
"""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import total_ordering

from typing_extensions import override

from sluice.base.errors import InvalidInputError

_VERSION = re.compile(
    r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+\S*)?"
)
_TERM = re.compile(r"(=|!=|>=|<=|>|<|~>)?\s*(\S+)")
_COMPARE: dict[str, Callable[["Version", "Version"], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A release's number in the order of semantic versioning; ``1.12.0-rc1`` < ``1.12.0``."""

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: str = ""

    def __lt__(self, other: "Version") -> bool:
        """Whether this release comes before the other."""
        return self._key() < other._key()

    @override
    def __str__(self) -> str:
        """As releases are named: ``1.11.4``."""
        number = f"{self.major}.{self.minor}.{self.patch}"
        return f"{number}-{self.prerelease}" if self.prerelease else number

    @property
    def number(self) -> tuple[int, int, int]:
        """Major, minor and patch without what comes behind."""
        return (self.major, self.minor, self.patch)

    def _key(
        self,
    ) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
        return (self.number, not self.prerelease, _prerelease_key(self.prerelease))


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison of a constraint; ``parts`` is how many numbers were written."""

    comparison: str
    version: Version
    parts: int

    def allows(self, version: Version) -> bool:
        """Whether the comparison holds. A pre-release must be asked for by its number."""
        if self.comparison in {"=", "!="}:
            return _COMPARE[self.comparison](version, self.version)
        if version.prerelease and (
            not self.version.prerelease or version.number != self.version.number
        ):
            return False
        if self.comparison == "~>":
            kept = max(self.parts - 1, 1)
            return (
                version >= self.version
                and version.number[:kept] == self.version.number[:kept]
            )
        return _COMPARE[self.comparison](version, self.version)


@dataclass(frozen=True, slots=True)
class Constraint:
    """All comparisons that a version must pass; none of them means any release."""

    text: str
    terms: tuple[Term, ...] = ()

    def allows(self, version: Version) -> bool:
        """Whether the version may be used."""
        if not self.terms:
            return not version.prerelease
        return all(term.allows(version) for term in self.terms)

    @property
    def exact(self) -> Version | None:
        """The one version that is named, so that no index need be asked."""
        match self.terms:
            case (Term(comparison="=", version=version),):
                return version
            case _:
                return None


def parse_version(text: str) -> Version:
    """A version from its name, with or without a leading ``v``.

    Raises:
        InvalidInputError: the text is no version.
    """
    return _parse(text)[0]


def parse_constraint(text: str) -> Constraint:
    """A workspace's ``terraform_version`` setting.

    Raises:
        InvalidInputError: the text is no constraint.
    """
    text = text.strip()
    if text in {"", "latest"}:
        return Constraint(text or "latest")
    terms = tuple(_parse_term(part, text) for part in text.split(","))
    return Constraint(text, terms)


def newest(constraint: Constraint, versions: Iterable[Version]) -> Version | None:
    """The newest allowed version; None when there is none."""
    return max(filter(constraint.allows, versions), default=None)


def _parse_term(part: str, whole: str) -> Term:
    match = _TERM.fullmatch(part.strip())
    if match is None:
        raise InvalidInputError(
            f"The version constraint {whole!r} cannot be read at {part.strip()!r};"
            " write for instance 1.11.4, ~> 1.11.0, '>= 1.5, < 2' or latest."
        )
    version, parts = _parse(match[2])
    return Term(match[1] or "=", version, parts)


def _parse(text: str) -> tuple[Version, int]:
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise InvalidInputError(
            f"{text.strip()!r} is no version; write for instance 1.11.4."
        )
    numbers = [int(part) for part in match.groups()[:3] if part is not None]
    major, minor, patch = [*numbers, 0, 0][:3]
    return Version(major, minor, patch, match[4] or ""), len(numbers)


def _prerelease_key(text: str) -> tuple[tuple[bool, int, str], ...]:
    return tuple(
        (False, int(part), "") if part.isdigit() else (True, 0, part)
        for part in text.split(".")
    )
