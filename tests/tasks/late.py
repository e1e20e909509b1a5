"""A phase whose lease is over, and an agent that still has lines of it."""

from sluice.auth.model import AgentPrincipal
from sluice.base.ids import AgentId, LeaseId, TaskId
from sluice.tasks.late_output import take_late_output
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk
from sluice.wire.late_output import LateAnswer
from tests.tasks.world import Phase, World


class Late:
    """A phase whose lease is over, and an agent that still has lines of it."""

    def __init__(self, world: World, agent: AgentPrincipal, phase: Phase) -> None:
        self.world = world
        self.agent = agent
        self.phase = phase
        self.captured_at = phase.now_us

    def body(
        self, offset: int, *pieces: bytes, captured_us: int | None = None, line: int = 1
    ) -> bytes:
        """Consecutive chunks from an offset on."""
        encoded = b""
        for data in pieces:
            at = self.captured_at if captured_us is None else captured_us
            piece = Chunk(offset, line, Source.STDOUT, Kind.OUTPUT, at, data)
            encoded += encode_chunk(piece)
            offset, line = piece.end, piece.next_line
        return encoded

    async def deliver(self, body: bytes = b"", **other: str) -> LateAnswer:
        return await take_late_output(
            self.world.tasks,
            agent_id=AgentId(other.get("agent_id", self.agent.agent_id)),
            task_id=TaskId(other.get("task_id", self.phase.task_id)),
            lease_id=LeaseId(other.get("lease_id", self.phase.lease_id)),
            body=body,
        )
