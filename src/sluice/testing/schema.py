"""All declared tables in one place, so that a test's database has them."""

import contextlib
import importlib
import pkgutil

from sqlalchemy import MetaData

import sluice
from sluice.db.engine import metadata


def declared_tables() -> MetaData:
    """The metadata with every package's `tables` module imported."""
    for package in filter(
        lambda found: found.ispkg, pkgutil.iter_modules(sluice.__path__)
    ):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(f"sluice.{package.name}.tables")
    return metadata
