"""Whether a state may follow the current one: same lineage, higher serial."""

from enum import StrEnum

from sluice.base.errors import ConflictError
from sluice.state.model import StateVersion
from sluice.terraform.statefile import StateFile


class Verdict(StrEnum):
    """What to do with a state that was sent."""

    STORE = "store"
    KNOWN = "known"


def successor(
    current: StateVersion | None, state: StateFile, *, sha256: str, force: bool
) -> Verdict:
    """Judge a state against the current version.

    The current state sent once more (a repeated upload) is known. ``force`` lets any
    other state follow.

    Raises:
        ConflictError: another lineage, or a serial that is not higher.
    """
    if current is None or current.deleted:
        return Verdict.STORE
    if current.sha256 == sha256:
        return Verdict.KNOWN
    if force:
        return Verdict.STORE
    if state.lineage != current.lineage:
        raise ConflictError(
            f"The state's lineage is {state.lineage}, the workspace's is "
            f"{current.lineage}: it comes from another history. Send it with force "
            "only if it shall replace the present state.",
            current_lineage=current.lineage,
            lineage=state.lineage,
        )
    if state.serial <= current.serial:
        same = " with other content" if state.serial == current.serial else ""
        raise ConflictError(
            f"The state's serial is {state.serial}{same}, the workspace's is at "
            f"{current.serial}: it was changed meanwhile. Pull the present state, or send "
            "this one with force if it shall replace it.",
            current_serial=current.serial,
            serial=state.serial,
        )
    return Verdict.STORE
