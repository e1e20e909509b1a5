"""Loads rule files: plain Python that makes rules."""

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from sluice.base.errors import InvalidInputError
from sluice.receiver.rules import Rule, RuleError, collecting


def load_rules(files: Sequence[Path]) -> list[Rule]:
    """All rules of the files, in their order.

    Raises:
        InvalidInputError: a file cannot be read or run, or makes no rule; the detail
            names the file and the line.
    """
    rules: list[Rule] = []
    for number, file in enumerate(files):
        rules += _load(file, f"sluice_rules_{number}")
    return rules


def _load(file: Path, name: str) -> list[Rule]:
    path = file.resolve()
    spec = importlib.util.spec_from_file_location(name, path)
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise InvalidInputError(f"{file} is no rule file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    # annotations are looked up there, and files beside it can be imported
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    with collecting() as rules:
        try:
            spec.loader.exec_module(module)
        except OSError as error:
            raise InvalidInputError(
                f"The rule file {file} cannot be read ({error.strerror})."
            ) from None
        except (Exception, SystemExit) as error:
            raise InvalidInputError(_told(file, path, error)) from error
    if not rules:
        raise InvalidInputError(
            f"{file} holds no rule; write a function under @rule, or call deny(…)."
        )
    return rules


def _told(file: Path, path: Path, error: BaseException) -> str:
    """An error of a rule file, in one line with its place."""
    if isinstance(error, SyntaxError):
        return f"{file}:{error.lineno}: {error.msg}."
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    place = f"{file}:{lines[-1]}" if lines else str(file)
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, RuleError):
        return f"{place}: {said}"
    return f"{place}: {type(error).__name__}: {said}."
