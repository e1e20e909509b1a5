"""Decides whether an agent's version fits the server's, and what people are told about it.

One minor version of difference works both ways, so that servers and agents can be upgraded
one after the other. A version before a release counts as that release.
"""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})(?!\d)", re.ASCII)
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Skew:
    """What follows from two versions.

    Attributes:
        fits: agent and server understand each other.
        advice: what a person should do, in words; empty where nothing is to be done.
    """

    fits: bool = True
    advice: str = ""


def skew_of(agent: str, server: str) -> Skew:
    """How an agent's version stands to the server's; one that cannot be read is let in."""
    theirs, ours = _parsed(agent), _parsed(server)
    if ours is None:
        return Skew()
    if theirs is None:
        told = f"tells the version {agent[:_SHOWN]!r}" if agent else "tells no version"
        return Skew(
            advice=f"The agent {told}, so nobody knows whether it fits the server"
            f" ({server}); install the agent of version {server}."
        )
    if theirs == ours or theirs == (ours[0], ours[1] + 1):
        return Skew()
    if theirs == (ours[0], ours[1] - 1):
        return Skew(
            advice=f"The agent ({agent}) is one minor version older than the server"
            f" ({server}) and works; upgrade it to {server} before the server is upgraded"
            " again."
        )
    rule = "An agent may be one minor version older or newer than its server."
    if theirs < ours:
        return Skew(
            False,
            f"The agent ({agent}) is too old for the server ({server}). {rule} Upgrade the"
            f" agent to {server} and start it again.",
        )
    return Skew(
        False,
        f"The agent ({agent}) is too new for the server ({server}). {rule} Upgrade the"
        f" server first, or install the agent of version {server}.",
    )


def _parsed(version: str) -> tuple[int, int] | None:
    """Major and minor."""
    found = _VERSION.match(version)
    return None if found is None else (int(found[1]), int(found[2]))
