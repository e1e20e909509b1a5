"""How defaults of sensitive parameters are kept: sealed, each bound to its script and name."""

import base64
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from sluice.auth.keyring import KeyRing
from sluice.scripts.model import Script
from sluice.scripts.parameters import Fault, refuse, text_of
from sluice.wire.shapes.scripts import Parameter, Scalar


def with_parameters(
    keyring: KeyRing, script: Script, parameters: Sequence[Parameter]
) -> Script:
    """The script with these parameters instead of those it had.

    A sensitive one that comes without a default keeps the one it had.

    Raises:
        InvalidInputError: a default that would be kept does not fit any more.
    """
    sealed = {}
    shown = []
    faults = []
    for at, parameter in enumerate(parameters):
        if not parameter.sensitive:
            shown.append(parameter)
            continue
        name = parameter.name
        shown.append(parameter.model_copy(update={"default": None}))
        if parameter.default is not None:
            sealed[name] = _seal(keyring, script, name, parameter.default)
        elif former := _former(script, parameter):
            sealed[name] = former
            try:
                text_of(parameter, _open(keyring, script, name, former))
            except ValueError as error:
                message = f"{error}, and the default that is kept is not; give a new one or null"
                faults.append(Fault(f"parameters.{at}.default", message))
    refuse(faults)
    return replace(script, parameters=tuple(shown), sealed_defaults=sealed)


def hidden_defaults(keyring: KeyRing, script: Script) -> dict[str, Scalar]:
    """Defaults of sensitive parameters, in the clear."""
    return {
        name: _open(keyring, script, name, sealed)
        for name, sealed in script.sealed_defaults.items()
    }


def _former(script: Script, parameter: Parameter) -> str | None:
    if parameter.required or "default" in parameter.model_fields_set:
        return None
    return script.sealed_defaults.get(parameter.name)


def _seal(keyring: KeyRing, script: Script, name: str, value: Scalar) -> str:
    sealed = keyring.seal(msgspec.json.encode(value), _name(script, name))
    return base64.b64encode(sealed).decode()


def _open(keyring: KeyRing, script: Script, name: str, sealed: str) -> Scalar:
    plain = keyring.open(base64.b64decode(sealed), _name(script, name))
    return msgspec.json.decode(plain, type=bool | int | float | str)


def _name(script: Script, parameter: str) -> str:
    return f"script-default:{script.id}:{parameter}"
