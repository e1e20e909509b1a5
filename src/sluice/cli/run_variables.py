"""Reads ``-var`` and ``-var-file`` as terraform does: files first, then single values on top."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sluice.base.errors import InvalidInputError
from sluice.cli.tfvars import variables_of_file
from sluice.wire.shapes.tasks import RunVariable

_DECLARED_TEXT = r'variable\s+"?{}"?\s*\{{[^}}]*?\btype\s*=\s*"?string\b'


def run_variables(
    pairs: Sequence[str], files: Sequence[Path], *, directory: Path | None
) -> list[RunVariable]:
    """The variables of one task; a later one of the same name wins.

    Args:
        pairs: what was given as ``-var name=value``.
        files: what was given as ``-var-file``.
        directory: the configuration, to see which variables are text.

    Raises:
        InvalidInputError: a pair without ``=``, or a file that cannot be read.
    """
    found: dict[str, RunVariable] = {}
    for path in files:
        found |= {variable.key: variable for variable in variables_of_file(path)}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InvalidInputError(f"-var {pair!r}: write it as name=value.")
        hcl = value.lstrip()[:1] in {"[", "{"} and not _is_text(key, directory)
        found[key] = RunVariable(key=key, value=value, hcl=hcl)
    return list(found.values())


def _is_text(key: str, directory: Path | None) -> bool:
    """Whether the configuration declares the variable as a string.

    terraform reads ``-var`` by the declared type; a value that begins like a list or an object
    is taken for one, unless the declaration says text.
    """
    declared = re.compile(_DECLARED_TEXT.format(re.escape(key)))
    return any(declared.search(text) for text in _sources(directory))


def _sources(directory: Path | None) -> Iterable[str]:
    if directory is None:
        return
    for path in sorted(directory.glob("*.tf")):
        yield path.read_text(encoding="utf-8", errors="replace")
