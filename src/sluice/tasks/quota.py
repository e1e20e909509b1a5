"""How many tasks there may be: unfinished ones at all, and running ones at a time."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sluice.base.errors import RateLimitedError
from sluice.base.ids import OrganizationId

RETRY_SECONDS = 60
"""When it makes sense to ask again for a task: some will have ended by then."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many tasks there may be, each a setting; 0 is any number.

    Attributes:
        organization: unfinished tasks of one organization.
        workspace: unfinished tasks of one workspace.
        running: tasks of one organization that agents run at a time.
    """

    organization: int = 0
    workspace: int = 0
    running: int = 0

    @property
    def counts_unfinished(self) -> bool:
        """Whether new tasks have to be counted."""
        return bool(self.organization or self.workspace)


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Unfinished:
    """How many tasks have not ended, of an organization and of one of its workspaces."""

    organization: int
    workspace: int = 0


def check_new(quota: Quota, found: Unfinished) -> None:
    """Refuse one task more than there may be.

    Raises:
        RateLimitedError: it is one; the detail has the numbers and the setting.
    """
    for noun, number, most in (
        ("organization", found.organization, quota.organization),
        ("workspace", found.workspace, quota.workspace),
    ):
        if most and number >= most:
            setting = f"tasks_unfinished_per_{noun}"
            raise RateLimitedError(
                f"The {noun} has {number} unfinished tasks and may have {most}; wait until"
                f" some have ended, cancel some, or raise the setting {setting}"
                f" (SLUICE_{setting.upper()}).",
                retry_after=RETRY_SECONDS,
                limit=most,
                unfinished=number,
                setting=setting,
            )


@dataclass(slots=True)
class RunningRoom:
    """How many tasks more each organization may have run, while claims are made."""

    most: int
    running: dict[OrganizationId, int] = field(default_factory=dict)

    def left(self, organization_id: OrganizationId) -> int | None:
        """How many more; None for any number."""
        if not self.most:
            return None
        return max(0, self.most - self.running.get(organization_id, 0))

    def take(self, organization_id: OrganizationId) -> None:
        """One more runs."""
        self.running[organization_id] = self.running.get(organization_id, 0) + 1

    def full(
        self, organization_ids: Iterable[OrganizationId]
    ) -> Collection[OrganizationId]:
        """Those of whom nothing more may run."""
        return {one for one in organization_ids if self.left(one) == 0}


def running_reason(running: int, most: int, organization: str) -> str:
    """Why a task waits whose organization has as many running as it may."""
    return f"{running} of {most} tasks of {organization} are running"
