"""Where the service's own log goes: standard error."""

import logging
import sys

import structlog

from sluice.base.log_lines import escape_fields


def configure_logging() -> None:
    """Log to stderr: coloured lines on a terminal, JSON otherwise."""
    renderers: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if sys.stderr.isatty():
        plain = structlog.dev.plain_traceback
        renderers = [
            escape_fields,
            structlog.dev.ConsoleRenderer(exception_formatter=plain),
        ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
