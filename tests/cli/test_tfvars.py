"""Variable files are cut into names and expressions as terraform would."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.cli.run_variables import run_variables
from sluice.cli.tfvars import TfvarsError, assignments, variables_of_file

SAMPLE = r"""
# a comment = "not this"
name   = "prod" # behind
amount= 3
ratio = 1.5 // behind
on = true
tags = {
  Team = "a = b"   # } not this
  "Brace }" = "${"x}"} \" }"
}
list = ["a", /* , */ "b",
  "c"]
text = <<-EOT
    first = "line"
    }
  EOT
nested = { a = [1, { b = "c" }], d = <<X
X's
X
}
escaped = "$${not} %%{this}"
unicode-ünïc = null
/* last = 1
*/
last = (1 +
  2)"""


def test_every_assignment_is_found() -> None:
    found = dict(assignments(SAMPLE.replace("unicode-ünïc", "unicode-x")))
    assert list(found) == [
        "name",
        "amount",
        "ratio",
        "on",
        "tags",
        "list",
        "text",
        "nested",
        "escaped",
        "unicode-x",
        "last",
    ]
    assert found["name"] == '"prod"'
    assert found["amount"] == "3"
    assert found["ratio"] == "1.5"
    assert re.fullmatch(r"\{.*\}", found["tags"], re.DOTALL)
    assert re.fullmatch(r"<<-EOT\n.*EOT", found["text"], re.DOTALL)
    assert found["last"] == "(1 +\n  2)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name", "line 1: expected `name = value`"),
        ('\n\n= "x"', "line 3: expected"),
        ("a = [1", "a bracket is not closed"),
        ('a = "x', "a quote is not closed"),
        ('a = "x\ny"', "a quote is not closed"),
        ("a = <<EOT\nx", "the heredoc EOT does not end"),
        ("a =\nb = 1", "line 1: a has no value"),
        ("a = 1\n}", "line 2: expected"),
    ],
)
def test_what_is_no_variable_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(TfvarsError, match=message):
        list(assignments(text))


def test_terraform_reads_the_same_values(tmp_path: Path) -> None:
    """The expressions, written anew one by one, mean what the file meant."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    sample = SAMPLE.replace("unicode-ünïc", "unicode-x")
    names = [name for name, _ in assignments(sample)]
    declared = "".join(f'variable "{name}" {{}}\n' for name in names)
    rebuilt = "".join(f"{name} = {value}\n" for name, value in assignments(sample))
    told: list[str] = []
    for content in (sample, rebuilt):
        place = tmp_path / str(len(told))
        place.mkdir()
        (place / "main.tf").write_text(declared)
        (place / "x.auto.tfvars").write_text(content)
        values = ", ".join(f'"{name}" = var.{name}' for name in names)
        expression = f"nonsensitive(jsonencode({{{values}}}))\n"
        done = subprocess.run(
            ["terraform", "console"],
            cwd=place,
            input=expression,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told.append(done.stdout)
    assert told[0] == told[1]
    assert "prod" in told[0]


def test_json_files_keep_text_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.tfvars.json"
    path.write_text(json.dumps({"a": "${b}", "c": ["${d}", 1], "e": None}))
    found = {item.key: (item.value, item.hcl) for item in variables_of_file(path)}
    assert found["a"] == ("${b}", False)
    assert found["c"] == ('["$${d}", 1]', True)
    assert found["e"] == ("null", True)


def test_single_values_win_over_files_and_the_last_over_the_first(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "1.tfvars", tmp_path / "2.tfvars"
    first.write_text('a = "1"\nb = "1"\nc = "1"\n')
    second.write_text('b = "2"\nc = "2"\n')
    found = run_variables(["c=3", "c=4", "d=x=y"], [first, second], directory=None)
    values = {item.key: item.value for item in found}
    assert values == {"a": '"1"', "b": '"2"', "c": "4", "d": "x=y"}


def test_lists_are_expressions_unless_the_variable_is_text(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(
        'variable "policy" {\n  description = "x"\n  type = string\n}\n'
        'variable "names" { type = list(string) }\n'
    )
    pairs = ['policy={"a":1}', 'names=["a"]', "other=[1]", "word=[x", "plain=true"]
    found = run_variables(pairs, [], directory=tmp_path)
    kinds = {item.key: item.hcl for item in found}
    assert kinds == {
        "policy": False,
        "names": True,
        "other": True,
        "word": True,
        "plain": False,
    }


@pytest.mark.parametrize("pair", ["novalue", "=x", ""])
def test_a_pair_without_a_name_or_value_is_refused(pair: str) -> None:
    with pytest.raises(InvalidInputError, match="name=value"):
        run_variables([pair], [], directory=None)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"gone\.tfvars cannot be read"):
        variables_of_file(tmp_path / "gone.tfvars")
