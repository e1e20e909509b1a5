"""Broken expressions are refused with their place, and whole ones never, as terraform sees them."""

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sluice.terraform.hcl_text import BrokenHclError, check_expression

WHOLE = [
    "1",
    "-1.5e3",
    "null",
    '"text"',
    '"a \\" b \\\\"',
    '"#, //, /*, [, {, )"',
    '"é \u2028"',
    "a ? b : c",
    "f(x)[0].y",
    "[1, 2,]",
    "[\n  1, # ]\n  2, // )\n  /* } */\n]",
    "{\n  a = 1\n  b = [2]\n}",
    "{ a = 1, (b) = {} }",
    "[for x in y : x if x != null]",
    "{for k, v in y : k => v...}",
    "(1\n+ 2)",
    " \t1 # more",
    "1 /* over\nlines */",
    "1\n\n# more\n",
    "1\r\n",
    '"${a}"',
    '"${ f("${b}", {c = "}"}["c"]) }"',
    '"${\n1 # }\n}"',
    '"${~ a ~}"',
    '"%{ if a }x%{ else }y%{ endif }"',
    '"$"',
    '"$ { % {"',
    '"$$"',
    '"$${"',
    '"$$${"',
    '"$$$${a"',
    '"%%{"',
    '"$%%{"',
    '"%${a}"',
    '"$%{ if a }x%{ endif }"',
    "<<EOT\nEOT",
    '<<EOT\n" # [ \\ /*\nEOT here\n  EOT  \n',
    "<<-EOT\n\tx\n\tEOT",
    "<<EOT\r\nx\r\nEOT\r\n",
    "<<É-1\nx\nÉ-1",
    "<<EOT\n${a}EOT\n$${ %%{\nEOT",
    '<<EOT\n${\n"}"\n}\nEOT',
    "f(<<A\n1\nA\n, <<B\n<<A\nB\n)",
    "<<A\n${<<B\nx\nB\n}\nA",
]

BROKEN = {
    "": "there is no expression",
    " # only words": "there is no expression",
    "/* x */": "there is no expression",
    "\n1": "the expression does not begin in the first line",
    "[1": "the bracket `[` in line 1, column 1 is not closed",
    "{a = [\n1\n}": "the bracket `}` in line 3, column 1 stands where `]` has to close"
    " the bracket `[` in line 1, column 6",
    "(1]": "the bracket `]` in line 1, column 3 stands where `)` has to close the"
    " bracket `(` in line 1, column 1",
    "}": "the bracket `}` in line 1, column 1 closes nothing",
    "f(1)(": "the bracket `(` in line 1, column 5 is not closed",
    '"abc': "the string in line 1, column 1 is not closed",
    '"abc\\"': "the string in line 1, column 1 is not closed",
    '"abc\\': "the string in line 1, column 1 is not closed",
    '[\n "a\n"]': "the string in line 2, column 2 does not end in its line",
    '"a\\\n"': "the string in line 1, column 1 does not end in its line",
    '"${': "the template `${` in line 1, column 2 is not closed",
    '"%${"': "the string in line 1, column 5 is not closed",
    '"$%{ if"': "the string in line 1, column 8 is not closed",
    '"${a)}"': "the bracket `)` in line 1, column 5 stands where `}` has to close the"
    " template `${` in line 1, column 2",
    "1 /* x": "the comment in line 1, column 3 does not end",
    "<<EOT": "the heredoc in line 1, column 1 is not closed",
    "<<EOT\nx\nEOT)": "the heredoc in line 1, column 1 is not closed",
    "<<EOT\n${EOT\n": "the template `${` in line 2, column 1 is not closed",
    "<<EOT x": "`<<` in line 1, column 1 begins a heredoc, whose marker has to be a name"
    " at the end of the line",
    "1 +\n2": "the expression ends with its line, and more stands in line 2, column 1;"
    " to go on in another line it needs brackets around it",
}


def refusal(text: str) -> str | None:
    """Why a text is refused; None where it is not."""
    try:
        check_expression(text)
    except BrokenHclError as broken:
        return str(broken)
    return None


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_expression_is_taken(text: str) -> None:
    assert refusal(text) is None


@pytest.mark.parametrize(("text", "why"), BROKEN.items())
def test_a_broken_one_is_refused_with_its_place(text: str, why: str) -> None:
    assert refusal(text) == why


def test_two_assignments_are_no_expression() -> None:
    """terraform would read them as two variables."""
    assert "and more stands in line 2" in str(refusal("1\nadmin = true"))


def test_deep_nesting_is_no_trouble() -> None:
    deep = 60_000
    assert refusal("[" * deep + "]" * deep) is None
    assert "is not closed" in str(refusal('"${' * deep))


def read_by_terraform(texts: list[str], directory: Path) -> list[bool]:
    """For each text, whether terraform reads `x = …` with it."""
    for number, text in enumerate(texts):
        content = f"x = {text}\n".encode()
        (directory / f"value{number}.tfvars").write_bytes(content)
    done = subprocess.run(
        ["terraform", "fmt", "-no-color", "-write=false", "-list=false", directory],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CLI_CONFIG_FILE": os.devnull},
    )
    broken = {int(number) for number in re.findall(r"value(\d+)\.tfvars", done.stderr)}
    return [number not in broken for number in range(len(texts))]


def made_up(rng: random.Random) -> str:
    """A short text of the pieces that matter."""
    pieces = ["1", "a", ",", "=", "\\", "(", ")", "[", "]", "{", "}", "f(", "E"]
    pieces += ['"', '"', '"x"', '"${a}"', "${", "%{if}", "%{endif}"]
    pieces += ["$", "%", "$$", "%%", "$${", "$$${", "/*", "*/", "#", "//"]
    lines = ["\n", "\r\n", " ", "<<E\n", "<<-E\n", "\nE\n", "E\n"]
    return "".join(rng.choices(pieces + lines, k=rng.randint(1, 9)))


@pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")
def test_terraform_agrees(tmp_path: Path) -> None:
    """It reads what is taken here as whole, and nothing that it reads is refused."""
    rng = random.Random(20261121)
    texts = [*WHOLE, *BROKEN, *(made_up(rng) for _ in range(2000))]
    read = read_by_terraform(texts, tmp_path)
    assert read[: len(WHOLE)] == [True] * len(WHOLE)
    assert read[len(WHOLE) : len(WHOLE) + len(BROKEN)] == [False] * len(BROKEN)
    wrongly = [
        (text, why)
        for text, is_read in zip(texts, read, strict=True)
        # several assignments are read, and are no expression
        if is_read and (why := refusal(text)) and "and more stands" not in why
    ]
    assert wrongly == []
    assert sum(read) > len(WHOLE)
