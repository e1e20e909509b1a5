"""Who may open one more live stream: limits by task, by user and by address (spec/1)."""

from collections import Counter, deque
from dataclasses import dataclass

from sluice.base.clock import Clock
from sluice.base.errors import RateLimitedError
from sluice.base.ids import TaskId

MINUTE = 60.0
_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of live streams on one server; each is a setting.

    Attributes:
        viewers_per_task: streams of one task at a time.
        viewers_per_script: the same of a task that runs a script.
        streams_per_user: streams of one user at a time.
        new_per_minute: new streams a minute from one address.
        idle_seconds: a stream is closed after so long without traffic either way.
        script_idle_seconds: the same for a WebSocket at a task that runs a script.
        heartbeat_seconds: how often a stream of server-sent events says that it lives.
        unacknowledged_bytes: how far a stream with acknowledgements runs ahead.
    """

    viewers_per_task: int = 100
    viewers_per_script: int = 10
    streams_per_user: int = 10
    new_per_minute: int = 30
    idle_seconds: float = 600.0
    script_idle_seconds: float = 600.0
    heartbeat_seconds: float = 25.0
    unacknowledged_bytes: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who opens a stream of what (of a ``script`` or not), and from where."""

    task_id: TaskId
    user: str
    address: str
    script: bool = False


class Admission:
    """Counts the open streams of this server and refuses one too many."""

    def __init__(self, limits: StreamLimits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._tasks: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._recent: dict[str, deque[float]] = {}

    def enter(self, visitor: Visitor) -> None:
        """Count a stream; whoever enters leaves.

        Raises:
            RateLimitedError: it would be one too many; the detail names the limit.
        """
        self._check(visitor)
        self._tasks[visitor.task_id] += 1
        self._users[visitor.user] += 1

    def leave(self, visitor: Visitor) -> None:
        """A stream has ended."""
        _less(self._tasks, visitor.task_id)
        _less(self._users, visitor.user)

    def _check(self, visitor: Visitor) -> None:
        limits = self.limits
        most, setting = limits.viewers_per_task, "stream_viewers_per_task"
        if visitor.script:
            most, setting = limits.viewers_per_script, "log_max_clients_per_task"
        if self._tasks[visitor.task_id] >= most:
            raise RateLimitedError(
                f"{visitor.task_id} has {most} live streams already; wait, or raise the"
                f" setting {setting}.",
                retry_after=10,
            )
        if self._users[visitor.user] >= limits.streams_per_user:
            raise RateLimitedError(
                f"You have {limits.streams_per_user} live streams already; close one,"
                " or raise the setting streams_per_user.",
                retry_after=10,
            )
        self._check_address(visitor.address)

    def _check_address(self, address: str) -> None:
        now = self._clock.monotonic()
        if len(self._recent) > _ADDRESSES:
            recent = [
                (known, times)
                for known, times in self._recent.items()
                if times[-1] > now - MINUTE
            ]
            # where too many came within a minute, those that came first are forgotten
            self._recent = dict(recent[-_ADDRESSES // 2 :])
        times = self._recent.setdefault(address, deque())
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= self.limits.new_per_minute:
            raise RateLimitedError(
                f"{self.limits.new_per_minute} new live streams a minute from one address"
                " are the limit; wait, or raise the setting"
                " streams_per_minute_per_address.",
                retry_after=times[0] + MINUTE - now,
            )
        times.append(now)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
