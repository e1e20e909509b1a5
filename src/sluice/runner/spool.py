"""The spool between a phase process and the uplink: what each side needs of it."""

from sluice.runner.spool_files import SpoolError
from sluice.runner.spool_reader import SpoolReader
from sluice.runner.spool_writer import SpoolLimits, SpoolWriter

__all__ = ["SpoolError", "SpoolLimits", "SpoolReader", "SpoolWriter"]
