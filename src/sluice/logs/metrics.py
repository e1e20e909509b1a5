"""What is counted of live output (spec/1, "Metrics"), once a flush, and of archiving."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)


class ArchiveMetrics:
    """How archiving keeps up with logs that end; the backlog is the whole database's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._logs = Counter(
            "sluice_log_archives_total",
            "Logs that were moved into archived objects, or could not be this time.",
            ["outcome"],
            registry=registry,
        )
        self._oldest = Gauge(
            "sluice_log_archive_oldest_seconds",
            "Time since the end of the oldest log that waits to be archived; 0 for none.",
            registry=registry,
        )
        for outcome in ("archived", "failed"):
            self._logs.labels(outcome)

    def archived(self) -> None:
        """A log lies in its object."""
        self._logs.labels("archived").inc()

    def failed(self) -> None:
        """A log could not be archived, and will be tried again."""
        self._logs.labels("failed").inc()

    def oldest(self, seconds: float) -> None:
        """The oldest log that waits has waited so long."""
        self._oldest.set(max(seconds, 0.0))


class LogMetrics:
    """Counters of one server's live output."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._streams = Gauge(
            "terraform_output_active_streams",
            "Tasks whose output somebody follows on this server.",
            registry=registry,
        )
        self._clients = Gauge(
            "terraform_output_active_clients",
            "Readers that follow output on this server.",
            registry=registry,
        )
        self._messages = Counter(
            "terraform_output_messages_total",
            "Lines delivered to readers.",
            registry=registry,
        )
        self._bytes = Counter(
            "terraform_output_bytes_total",
            "Bytes delivered to readers, in their wire form.",
            registry=registry,
        )
        self._delivery = Histogram(
            "terraform_output_delivery_seconds",
            "Time from a line's capture on the agent to its delivery to readers at the"
            " head; the first line of each flush.",
            buckets=_BUCKETS,
            registry=registry,
        )

    def watching(self, *, streams: int, clients: int) -> None:
        """Somebody came or went."""
        self._streams.set(streams)
        self._clients.set(clients)

    def delivered(self, *, lines: int, size: int, readers: int) -> None:
        """``lines`` lines in ``size`` bytes went to each of ``readers``."""
        self._messages.inc(lines * readers)
        self._bytes.inc(size * readers)

    def lag(self, seconds: float) -> None:
        """The first line of a flush is so old (clocks may differ a little)."""
        self._delivery.observe(max(seconds, 0.0))
