"""Variables reach terraform exactly as they were given, checked by terraform itself."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.terraform.tfvars import environment_variables, quoted, render_tfvars
from sluice.wire.agent import OrderVariable

NASTY = "$%{}\"\\\n\r\ta~`#/'\x00\x01\x7fé😀\u2028\ufeff "


def variable(key: str, value: str, *, hcl: bool = False) -> OrderVariable:
    return OrderVariable(key=key, value=value, category="terraform", hcl=hcl)


def outputs_of(directory: Path, tfvars: str) -> dict[str, object]:
    """What terraform makes of a var file: its outputs, as `terraform show -json` has them."""
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not installed")
    (directory / "terraformrc").write_text("")
    environment = {
        **os.environ,
        "TF_CLI_CONFIG_FILE": str(directory / "terraformrc"),
        "CHECKPOINT_DISABLE": "1",
    }
    (directory / "sluice.tfvars").write_bytes(tfvars.encode())

    def run(*arguments: str) -> str:
        return subprocess.run(
            [terraform, *arguments],
            cwd=directory,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    run("plan", "-out=plan.out", "-var-file=sluice.tfvars")
    planned = json.loads(run("show", "-json", "plan.out"))["planned_values"]
    return {name: out["value"] for name, out in planned["outputs"].items()}


def test_any_text_is_the_string_that_terraform_sees(tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = ["".join(rng.choices(NASTY, k=rng.randrange(12))) for _ in range(200)]
    texts += ["$${x}", "$$${x}", "${x}", "%%{if}", "<<EOT\nx\nEOT", '"', "\\", "$", ""]
    (tmp_path / "main.tf").write_text(
        "\n".join(
            f'variable "v{n}" {{}}\noutput "v{n}" {{ value = var.v{n} }}'
            for n in range(len(texts))
        )
    )
    rendered = render_tfvars(variable(f"v{n}", text) for n, text in enumerate(texts))
    got = outputs_of(tmp_path, rendered)
    assert [got[f"v{n}"] for n in range(len(texts))] == texts


def test_hcl_values_stand_as_they_are_and_later_ones_win(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(
        'variable "l" {}\noutput "l" { value = var.l }\n'
        'variable "h" {}\noutput "h" { value = var.h }\n'
        'variable "n" { type = number }\noutput "n" { value = var.n }\n'
    )
    rendered = render_tfvars(
        [
            variable("l", "first"),
            variable("l", '["a", 2, { b = "${1 + 1}" }] # why', hcl=True),
            variable("h", "<<EOT\nline\nEOT", hcl=True),
            variable("n", "42"),
            OrderVariable(key="PATH", value="/bin", category="env"),
        ]
    )
    assert "PATH" not in rendered
    got = outputs_of(tmp_path, rendered)
    assert got == {"l": ["a", 2, {"b": 2}], "h": "line\n", "n": 42}


@pytest.mark.parametrize("key", ["", "1st", "a.b", "a b", 'x" = 1', "a\nb"])
def test_a_name_that_is_none_is_refused_by_name(key: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be given to terraform"):
        render_tfvars([variable(key, "x")])


def test_environment_variables_come_apart_from_the_others() -> None:
    variables = [
        variable("region", "eu"),
        OrderVariable(key="A", value="1", category="env"),
        OrderVariable(key="A", value="2\n$x", category="env"),
    ]
    assert environment_variables(variables) == {"A": "2\n$x"}


@pytest.mark.parametrize(("key", "value"), [("", "x"), ("A=B", "x"), ("A", "x\0y")])
def test_an_environment_variable_that_cannot_be_set_is_refused(
    key: str, value: str
) -> None:
    with pytest.raises(InvalidInputError, match="cannot be set"):
        environment_variables([OrderVariable(key=key, value=value, category="env")])


def test_templates_are_not_templates() -> None:
    assert quoted("a${b}%{c}") == '"a\\u0024{b}\\u0025{c}"'
