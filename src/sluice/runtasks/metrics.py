"""What is counted of calls to services and of what they say."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sluice.runtasks.model import Result
from sluice.runtasks.schedule import Answer
from sluice.wire.run_task import FINAL, ResultStatus

_BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class RunTaskMetrics:
    """Counters of one server; the open results are those of the whole database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "sluice_run_task_calls_total",
            "Calls to services: taken, refused for good, or failed and perhaps made again.",
            ["outcome"],
            registry=registry,
        )
        self._results = Counter(
            "sluice_run_task_results_total",
            "Results of run tasks that became final.",
            ["stage", "status"],
            registry=registry,
        )
        self._duration = Histogram(
            "sluice_run_task_duration_seconds",
            "Time from the first call to the end of a result.",
            ["stage"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._timeouts = Counter(
            "sluice_run_task_callback_timeouts_total",
            "Results whose service was not heard of in time.",
            ["stage"],
            registry=registry,
        )
        self._open = Gauge(
            "sluice_run_task_results_open",
            "Results that wait to be called, or for their service.",
            ["status"],
            registry=registry,
        )
        for answer in Answer:
            self._calls.labels(answer.value)
        self.open({})

    def called(self, answer: Answer) -> None:
        """A call came to its end."""
        self._calls.labels(answer.value).inc()

    def concluded(self, result: Result) -> None:
        """A result became final."""
        stage = result.stage.value
        self._results.labels(stage, result.status.value).inc()
        if result.status is ResultStatus.TIMEOUT:
            self._timeouts.labels(stage).inc()
        if result.started_at is not None and result.completed_at is not None:
            took = result.completed_at - result.started_at
            self._duration.labels(stage).observe(took.total_seconds())

    def open(self, counts: dict[ResultStatus, int]) -> None:
        """So many results are open now."""
        for status in ResultStatus:
            if status not in FINAL:
                self._open.labels(status.value).set(counts.get(status, 0))
