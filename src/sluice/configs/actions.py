"""Announce, upload, check and read configuration versions."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import structlog

from sluice.auth.audit_calls import about
from sluice.base.clock import Clock
from sluice.base.errors import ConflictError, NotFoundError, SluiceError
from sluice.base.ids import (
    ConfigurationVersionId,
    WorkspaceId,
    new_configuration_version_id,
    random_id,
)
from sluice.base.transactions import Transactions
from sluice.blobs.store import Blobs
from sluice.configs.model import ConfigurationVersion
from sluice.configs.ports import ConfigurationStore, Workspaces
from sluice.edge.bodies import StoredBody
from sluice.terraform.archive import ArchiveError, ArchiveLimits, check_archive
from sluice.wire.shapes.configs import ConfigurationStatus

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConfigDeps:
    """What the actions on configurations need. ``max_bytes``: the largest upload taken."""

    transactions: Transactions
    store: ConfigurationStore
    workspaces: Workspaces
    blobs: Blobs
    clock: Clock
    max_bytes: int = 100 * 1024 * 1024
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)


async def create_configuration_version(
    deps: ConfigDeps, *, workspace_id: WorkspaceId, actor: str
) -> ConfigurationVersion:
    """Announce an upload: a pending version to send an archive to.

    Raises:
        NotFoundError: there is no such workspace.
    """
    version = ConfigurationVersion(
        id=new_configuration_version_id(),
        workspace_id=workspace_id,
        status=ConfigurationStatus.PENDING,
        error="",
        size_bytes=None,
        sha256=None,
        blob_key=None,
        created_by=actor,
        created_at=deps.clock.now(),
    )
    async with deps.transactions.write() as tx:
        if not await deps.workspaces.exists(tx, workspace_id):
            raise NotFoundError(f"There is no workspace {workspace_id}.")
        await deps.store.add(tx, version)
        about(version.id, workspace_id=workspace_id)
    return version


async def get_configuration_version(
    deps: ConfigDeps, *, configuration_version_id: ConfigurationVersionId
) -> ConfigurationVersion:
    """One configuration version.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        version = await deps.store.get(tx, configuration_version_id)
    if version is None:
        raise NotFoundError(
            f"There is no configuration version {configuration_version_id}."
        )
    return version


async def newest_uploaded(
    deps: ConfigDeps, *, workspace_id: WorkspaceId
) -> ConfigurationVersion | None:
    """The workspace's uploaded version that was created last."""
    async with deps.transactions.read() as tx:
        return await deps.store.newest_uploaded(tx, workspace_id)


async def expect_upload(
    deps: ConfigDeps, *, configuration_version_id: ConfigurationVersionId
) -> ConfigurationVersion:
    """Look whether an upload makes sense before its body is read.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: an earlier upload to it was refused.
    """
    version = await get_configuration_version(
        deps, configuration_version_id=configuration_version_id
    )
    if version.status is ConfigurationStatus.ERRORED:
        raise ConflictError(
            f"The upload to {version.id} was refused before ({version.error}); "
            "make a new configuration version."
        )
    return version


async def upload(
    deps: ConfigDeps,
    *,
    configuration_version_id: ConfigurationVersionId,
    body: StoredBody,
) -> ConfigurationVersion:
    """Check an archive and keep it; sending the same one again is fine.

    Raises:
        ArchiveError: it is unsafe or broken; the version is errored from then on.
        ConflictError: the version has another upload already.
    """
    version = await expect_upload(
        deps, configuration_version_id=configuration_version_id
    )
    if version.status is ConfigurationStatus.UPLOADED:
        return _same_or_refused(version, body)
    try:
        await asyncio.to_thread(check_archive, body.path, deps.limits)
    except ArchiveError as error:
        refused = replace(
            version, status=ConfigurationStatus.ERRORED, error=error.detail
        )
        async with deps.transactions.write() as tx:
            await deps.store.settle(tx, refused)
        raise
    uploaded = replace(
        version,
        status=ConfigurationStatus.UPLOADED,
        size_bytes=body.size,
        sha256=body.sha256,
        blob_key=random_id(
            f"configs/{version.id}"
        ),  # its own: no upload touches another's
    )
    return await _keep(deps, uploaded, body)


async def _keep(
    deps: ConfigDeps, uploaded: ConfigurationVersion, body: StoredBody
) -> ConfigurationVersion:
    """The blob first, then the row. Of two uploads at once the first one to settle wins."""
    key = uploaded.blob_key or ""
    await deps.blobs.put(key, body.path)
    async with deps.transactions.write() as tx:
        settled = await deps.store.settle(tx, uploaded)
        present = await deps.store.get(tx, uploaded.id)
    if settled:
        return uploaded
    await _drop_blob(deps, key)
    if present is None:
        raise NotFoundError(f"The configuration version {uploaded.id} was deleted.")
    return _same_or_refused(present, body)


async def open_archive(
    deps: ConfigDeps, *, configuration_version_id: ConfigurationVersionId
) -> AsyncIterator[bytes]:
    """The archive in pieces, as it was uploaded.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: nothing was uploaded to it.
    """
    version = await get_configuration_version(
        deps, configuration_version_id=configuration_version_id
    )
    if version.blob_key is None:
        raise ConflictError(
            f"Configuration version {version.id} is {version.status}; "
            "there is nothing to download."
        )
    await deps.blobs.size(version.blob_key)  # say now, and not midway, if it is gone
    return deps.blobs.stream(version.blob_key)


def _same_or_refused(
    version: ConfigurationVersion, body: StoredBody
) -> ConfigurationVersion:
    if version.sha256 == body.sha256:
        return version
    raise ConflictError(
        f"Configuration version {version.id} is {version.status} with another content; "
        "make a new configuration version."
    )


async def _drop_blob(deps: ConfigDeps, key: str) -> None:
    try:
        await deps.blobs.delete(key)
    except SluiceError as error:
        _logger.warning("unused blob stays", key=key, because=error.detail)
