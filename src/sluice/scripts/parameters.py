"""Which parameters a script may declare, and which values fit them: texts for an environment.

Nothing here ever reaches a command line: values become environment variables, and names
that change how programs are found or loaded cannot be declared.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import SchemaError, SchemaValidator, core_schema

from sluice.base.errors import InvalidInputError
from sluice.wire.shapes.scripts import (
    MAX_VALUE,
    Parameter,
    ParameterType,
    Scalar,
)
from sluice.wire.texts import check_texts

_FIELDS = frozenset({"key", "organization"})
_RESERVED = frozenset(
    {
        *("PATH", "HOME", "SHELL", "USER", "LOGNAME", "PWD", "TMPDIR", "IFS", "ENV"),
        *("CDPATH", "GLOBIGNORE", "BASHOPTS", "SHELLOPTS", "PS4", "PROMPT_COMMAND"),
        *("GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "RESOLV_HOST_CONF"),
        *("CLASSPATH", "EDITOR", "PAGER", "BROWSER"),
    }
)
_RESERVED_BEGINNINGS = (
    *("LD_", "DYLD_", "SLUICE_", "KERUTA_", "BASH_", "GLIBC_", "MALLOC_"),
    *("PYTHON", "PERL", "RUBY", "NODE_", "JAVA_", "_JAVA", "JDK_", "GIT_", "LUA_"),
)
_NUMBERS = frozenset({ParameterType.INTEGER, ParameterType.NUMBER})
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(
    r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,3})?"
)
# of a request's faults, so many stand in the sentence; all stand beside it
_NAMED_FAULTS = 5
_TRUTH = {"true": "true", "false": "false"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field."""

    field: str
    message: str


class _UnfitError(ValueError):
    """The value does not fit; the message says what would."""


def refuse(faults: Sequence[Fault]) -> None:
    """Refuse a request for its faults; none are fine.

    Raises:
        InvalidInputError: there are some; each is named in ``errors``.
    """
    if not faults:
        return
    named = [f"{fault.field}: {fault.message}" for fault in faults[:_NAMED_FAULTS]]
    more = len(faults) - len(named)
    raise InvalidInputError(
        "; ".join(named) + (f" (and {more} more)" if more else ""),
        errors=[{"field": fault.field, "message": fault.message} for fault in faults],
    )


# --- declared -----------------------------------------------------------------


def faults_of_declared(parameters: Sequence[Parameter]) -> list[Fault]:
    """What is wrong with the parameters that a script declares."""
    faults = []
    seen: set[str] = set()
    for at, parameter in enumerate(parameters):
        name = parameter.name.upper()
        place = f"parameters.{at}"
        if name in seen:
            message = f"{parameter.name} is declared twice; case makes no difference"
            faults.append(Fault(f"{place}.name", message))
        seen.add(name)
        faults += [
            Fault(f"{place}.{field}", message)
            for field, message in _declared(parameter)
        ]
    return faults


def _declared(parameter: Parameter) -> list[tuple[str, str]]:
    found = []
    if (message := _reserved(parameter.name)) is not None:
        found.append(("name", message))
    if (parameter.type is ParameterType.ENUM) != bool(parameter.choices):
        found.append(("choices", "an enum has choices, and nothing else has"))
    if parameter.pattern is not None:
        if parameter.type is not ParameterType.STRING:
            found.append(("pattern", "only a string has a pattern"))
        elif (message := _bad_pattern(parameter.pattern)) is not None:
            found.append(("pattern", message))
    found += _bounds(parameter)
    if parameter.default is not None and not found:
        found += _default(parameter)
    return found


def _reserved(name: str) -> str | None:
    if name.lower() in _FIELDS:
        return f"{name} is a field of the call itself; take another name"
    upper = name.upper()
    if upper in _RESERVED or upper.startswith(_RESERVED_BEGINNINGS):
        return f"{name} changes how programs run or is set by Sluice; take another name"
    return None


def _bounds(parameter: Parameter) -> list[tuple[str, str]]:
    low, high = parameter.min, parameter.max
    if parameter.type not in _NUMBERS and (low is not None or high is not None):
        field = "max" if low is None else "min"
        return [(field, "only an integer or a number has bounds")]
    if low is not None and high is not None and low > high:
        return [("min", "min is above max")]
    return []


def _default(parameter: Parameter) -> list[tuple[str, str]]:
    if parameter.required:
        return [("default", "a required parameter has no default")]
    try:
        text_of(parameter, parameter.default)
    except ValueError as error:
        return [("default", str(error))]
    return []


def _bad_pattern(pattern: str) -> str | None:
    try:
        # alone, so that a bracket cannot close what is put around it
        SchemaValidator(core_schema.str_schema(pattern=pattern))
        _matcher(pattern)
    except SchemaError:
        return "is no regular expression (looking ahead or back is not possible)"
    return None


# --- given --------------------------------------------------------------------


def environment(
    declared: Sequence[Parameter],
    given: Mapping[str, object],
    sealed: Mapping[str, Scalar],
) -> dict[str, str]:
    """The environment of a run: given values, then defaults.

    Args:
        declared: the script's parameters.
        given: values by name, in any case. A ``version`` is taken whether or not it is
            declared.
        sealed: defaults of sensitive parameters by name.

    Raises:
        InvalidInputError: values are wrong, missing or not declared; each is named.
    """
    faults: list[Fault] = []
    known = {parameter.name.upper(): parameter for parameter in declared}
    known.setdefault("VERSION", _VERSION)
    values: dict[str, object] = {}
    for name, value in given.items():
        if name.upper() not in known:
            faults.append(Fault(name, _unknown(declared)))
        elif name.upper() in values:
            faults.append(Fault(name, "is given twice; case makes no difference"))
        elif value is not None:
            values[name.upper()] = value
    names = {name.upper(): name for name in reversed(list(given))}
    found = {}
    for upper, parameter in known.items():
        value = values.get(upper, sealed.get(parameter.name, parameter.default))
        if value is None:
            if parameter.required:
                faults.append(Fault(parameter.name, "is required"))
            continue
        try:
            found[parameter.name] = text_of(parameter, value)
        except ValueError as error:
            faults.append(Fault(names.get(upper, parameter.name), str(error)))
    refuse(faults)
    return found


_VERSION = Parameter(name="VERSION", pattern=r"[^\x00-\x1f\x7f]*")


def _unknown(declared: Sequence[Parameter]) -> str:
    names = ", ".join(parameter.name for parameter in declared)
    return "is no parameter of this script; it has " + (names or "none")


def text_of(parameter: Parameter, value: object) -> str:
    """The value as the environment holds it.

    Raises:
        ValueError: it does not fit; the message says what would.
    """
    text = _TEXTS[parameter.type](parameter, value)
    check_texts(text)
    if len(text.encode()) > MAX_VALUE:
        raise _UnfitError(f"may have at most {MAX_VALUE} bytes")
    return text


def _string(parameter: Parameter, value: object) -> str:
    if not isinstance(value, str):
        raise _UnfitError("must be a text, in quotes")
    if parameter.pattern is not None:
        try:
            _matcher(parameter.pattern).validate_python(value)
        except ValidationError:
            raise _UnfitError(f"must match {parameter.pattern}") from None
    return value


def _integer(parameter: Parameter, value: object) -> str:
    given = value.strip() if isinstance(value, str) else value
    if isinstance(given, str) and _INTEGER.fullmatch(given):
        given = int(given)
    if isinstance(given, float) and given.is_integer() and abs(given) < 2**53:
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or abs(given) >= 10**18:
        raise _UnfitError("must be a whole number")
    _check_bounds(parameter, given)
    return str(given)


def _number(parameter: Parameter, value: object) -> str:
    given = value.strip() if isinstance(value, str) else value
    text = given if isinstance(given, str) and _NUMBER.fullmatch(given) else None
    number = given if text is None else float(text)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _UnfitError("must be a number")
    # the size first: a whole number may be too long to become a float
    if abs(number) >= 10**18 or not math.isfinite(number):
        raise _UnfitError("must be a number of a usual size")
    _check_bounds(parameter, number)
    return text or repr(number)


def _boolean(parameter: Parameter, value: object) -> str:
    given = str(value).lower() if isinstance(value, bool | str) else ""
    if given not in _TRUTH:
        raise _UnfitError("must be true or false")
    return _TRUTH[given]


def _enum(parameter: Parameter, value: object) -> str:
    if not isinstance(value, str) or value not in parameter.choices:
        raise _UnfitError(f"must be one of {', '.join(parameter.choices)}")
    return value


def _check_bounds(parameter: Parameter, value: float) -> None:
    low, high = parameter.min, parameter.max
    if (low is None or value >= low) and (high is None or value <= high):
        return
    if low is not None and high is not None:
        raise _UnfitError(f"must be from {low:g} to {high:g}")
    raise _UnfitError(
        f"must be {low:g} or more" if low is not None else f"must be {high:g} or less"
    )


_TEXTS: dict[ParameterType, Callable[[Parameter, object], str]] = {
    ParameterType.STRING: _string,
    ParameterType.INTEGER: _integer,
    ParameterType.NUMBER: _number,
    ParameterType.BOOLEAN: _boolean,
    ParameterType.ENUM: _enum,
}


def _matcher(pattern: str) -> SchemaValidator:
    """Matches in linear time, whatever the pattern: this engine does not go back."""
    return SchemaValidator(core_schema.str_schema(pattern=f"^(?:{pattern})$"))
