"""How a variable's value is kept: plain, or sealed and never shown again."""

from dataclasses import replace

from sluice.auth.keyring import KeyRing
from sluice.workspaces.model import Variable


def with_value(keyring: KeyRing, variable: Variable, value: str) -> Variable:
    """The variable with ``value``, sealed where it is sensitive."""
    if not variable.sensitive:
        return replace(variable, value=value, sealed=None)
    sealed = keyring.seal(value.encode(), _seal_name(variable))
    return replace(variable, value=None, sealed=sealed)


def value_of(keyring: KeyRing, variable: Variable) -> str:
    """The value in the clear."""
    if variable.sealed is not None:
        return keyring.open(variable.sealed, _seal_name(variable)).decode()
    return variable.value or ""


def _seal_name(variable: Variable) -> str:
    return f"variable:{variable.id}"
