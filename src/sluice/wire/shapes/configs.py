"""Configuration versions."""

from datetime import datetime
from enum import StrEnum

from sluice.wire.shapes.base import Resource


class ConfigurationStatus(StrEnum):
    """Where a configuration version stands."""

    PENDING = "pending"
    UPLOADED = "uploaded"
    ERRORED = "errored"


class ConfigurationVersion(Resource):
    """One upload of a workspace's files; ``upload_url`` is a path to PUT a tar.gz to."""

    id: str
    workspace_id: str
    status: ConfigurationStatus
    error: str
    size_bytes: int | None
    sha256: str | None
    upload_url: str
    created_at: datetime
