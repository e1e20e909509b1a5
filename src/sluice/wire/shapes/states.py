"""State versions and outputs."""

from datetime import datetime

from sluice.wire.shapes.base import Resource


class StateVersion(Resource):
    """One version of a workspace's state, without its content."""

    id: str
    workspace_id: str
    serial: int
    lineage: str
    sha256: str
    size_bytes: int
    terraform_version: str
    resource_count: int
    task_id: str | None
    rollback_of: str | None
    created_by: str
    created_at: datetime


class OutputValue(Resource):
    """An output of the state; ``value`` is None where it is sensitive."""

    name: str
    sensitive: bool
    type: object
    value: object
