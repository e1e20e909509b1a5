"""Structured logs: one JSON object a line for machines, or coloured lines for people."""

import logging
import sys
from enum import StrEnum
from typing import TextIO

import structlog
from structlog.typing import Processor

from sluice.base.log_lines import escape_fields

_QUIET = (
    "aiosqlite",
    "alembic",
    "asyncio",
    "httpcore2",
    "httpx2",
    "uvicorn",
    "websockets",
)


class LogFormat(StrEnum):
    """How log lines look; `auto` is `console` on a terminal, else `json`."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def configure_logging(
    log_format: LogFormat, level: str, *, out: TextIO | None = None
) -> None:
    """Send structlog's and the standard library's records to ``out`` (stderr) in one form.

    Fields bound by `structlog.contextvars` (request, task, agent, user) are on every line.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    out = out or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format, terminal=out.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(noisy).handlers.clear()
        logging.getLogger(noisy).propagate = True
    for quiet in _QUIET:
        logging.getLogger(quiet).setLevel(max(logging.WARNING, root.level))


def _renderers(log_format: LogFormat, *, terminal: bool) -> list[Processor]:
    if log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and terminal):
        return [
            structlog.processors.format_exc_info,
            escape_fields,
            structlog.dev.ConsoleRenderer(
                colors=terminal, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ]
