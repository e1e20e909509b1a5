"""State versions as frozen records."""

from dataclasses import dataclass
from datetime import datetime

from sluice.base.ids import StateVersionId, TaskId, WorkspaceId


@dataclass(frozen=True, slots=True)
class StateVersion:
    """One version of a workspace's state; its content is a sealed blob.

    ``sequence`` orders a workspace's versions: the highest is the current one.
    A version of size 0 says that the state was deleted: from then on there is none, until
    another version is stored.
    """

    id: StateVersionId
    workspace_id: WorkspaceId
    sequence: int
    serial: int
    lineage: str
    sha256: str
    md5: str
    size_bytes: int
    terraform_version: str
    resource_count: int
    blob_key: str
    task_id: TaskId | None
    rollback_of: StateVersionId | None
    created_by: str
    created_at: datetime

    @property
    def deleted(self) -> bool:
        """Whether this version says that there is no state any more."""
        return self.size_bytes == 0
