from datetime import timedelta

from prometheus_client import CollectorRegistry
from typing_extensions import override

from sluice.base.errors import UnavailableError
from sluice.logs.archiver import Archiver
from sluice.logs.metrics import ArchiveMetrics
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_logs import MemoryBlobs
from tests.logs.harness import backing_of, running
from tests.logs.test_archiver import an_ended_log, parts_of


class AwayBlobs(MemoryBlobs):
    """Takes nothing until it is back."""

    back = False

    @override
    async def put(self, key: str, data: object) -> None:
        if not self.back:
            raise UnavailableError("away")
        await super().put(key, data)  # type: ignore[arg-type]


async def test_what_waits_to_be_archived_is_told() -> None:
    registry = CollectorRegistry()
    blobs = AwayBlobs()
    backing = backing_of(MemoryTransactions(), blobs)

    def told() -> tuple[float | None, float | None, float | None]:
        name = "sluice_log_archives_total"
        return (
            registry.get_sample_value(name, {"outcome": "archived"}),
            registry.get_sample_value(name, {"outcome": "failed"}),
            registry.get_sample_value("sluice_log_archive_oldest_seconds"),
        )

    async with running(backing) as system:
        parts = parts_of(system, metrics=ArchiveMetrics(registry))
        archiver = Archiver(parts)
        await archiver.round()
        assert told() == (0, 0, 0)
        await an_ended_log(system, backing, pieces=1)
        await archiver.round()
        archived, failed, oldest = told()
        assert (archived, failed) == (0, 1)
        assert oldest is not None
        assert oldest > 0
        await archiver.round()
        again = told()[2]
        assert again is not None
        assert again > oldest
        assert timedelta(seconds=again) < timedelta(hours=1)
        blobs.back = True
        other = Archiver(parts)
        assert await other.round() == 1
        assert told()[:2] == (1, 1)
        await other.round()
        assert told() == (1, 1, 0)
