"""What is followed on a server."""

from sluice.wire.shapes.base import Resource


class StreamStat(Resource):
    """One followed log; ``buffer_size`` in lines, ``uptime`` in seconds."""

    task_id: str
    clients_count: int
    buffer_size: int
    uptime: float
    closed: bool


class StreamStats(Resource):
    """All followed logs of this server process."""

    streams: list[StreamStat]
    count: int
