"""Where the log of the program itself goes: standard error."""

import logging
import sys

import structlog

from sluice.base.log_lines import escape_fields

_QUIET = ("websockets", "httpx2", "httpcore2", "asyncio")


def configure_logging(level: str) -> None:
    """Log to stderr: coloured lines on a terminal, JSON otherwise."""
    terminal = sys.stderr.isatty()
    renderers: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if terminal:
        plain = structlog.dev.plain_traceback
        renderers = [
            escape_fields,
            structlog.dev.ConsoleRenderer(exception_formatter=plain),
        ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
