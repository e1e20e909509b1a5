"""The examples can be registered as they lie there."""

from pathlib import Path

import pytest

from sluice.cli.script_commands import definition_of
from sluice.scripts.parameters import environment, faults_of_declared
from sluice.wire.shapes.scripts import ScriptInput

EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"
FILES = sorted(EXAMPLES.glob("*.toml"))


def test_there_are_examples() -> None:
    assert len(FILES) >= 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_can_be_registered(path: Path) -> None:
    script = ScriptInput.model_validate(definition_of(path))
    assert faults_of_declared(script.parameters) == []
    assert script.body.startswith("#!/bin/sh")
    found = environment(script.parameters, {"pace": 0}, {})
    assert found["PACE"] == "0"
    named = {parameter.name for parameter in script.parameters}
    used = {name for name in named if f"${{{name}:-" in script.body}
    assert used == named, "every parameter is one that the script reads"
