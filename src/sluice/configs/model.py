"""Configuration versions as frozen records."""

from dataclasses import dataclass
from datetime import datetime

from sluice.base.ids import ConfigurationVersionId, WorkspaceId
from sluice.wire.shapes.configs import ConfigurationStatus


@dataclass(frozen=True, slots=True)
class ConfigurationVersion:
    """One upload of a workspace's files; the archive is a blob."""

    id: ConfigurationVersionId
    workspace_id: WorkspaceId
    status: ConfigurationStatus
    error: str
    size_bytes: int | None
    sha256: str | None
    blob_key: str | None
    created_by: str
    created_at: datetime
