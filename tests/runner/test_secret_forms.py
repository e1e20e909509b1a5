"""Every way in which an encoder may write a secret is a pattern."""

import base64
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from sluice.runner.masker import MASK, Masker, Secrets
from sluice.runner.secret_forms import hcl_strings, secret_forms, sensitive_values
from sluice.wire.agent import OrderVariable

SECRETS = [
    "hunter2-plain",
    'quo"ted\\back/slash',
    "<html>&amp;'s",
    "ünïcödé-пароль-密码",
    "tab\tand ${inter} %{polation}",
    "p@ss:w?rd=1+1 &more",
    "\x01control\x1f\x7f",
    "cafe\u0301-decomposed",
]


def masked(secret: str, text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    masker = Masker(Secrets(secret_forms([secret]).patterns))
    return masker.feed(b"<" + raw + b">") + masker.finish()


def go_json(secret: str) -> str:
    """As Go's encoder writes it: short and \\u escapes, HTML characters too."""
    text = json.dumps(secret, ensure_ascii=False)[1:-1]
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "encode",
    [
        str,
        lambda s: json.dumps(s)[1:-1],
        lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
        go_json,
        lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1],
        lambda s: json.dumps(go_json(s))[1:-1],
        quote,
        lambda s: quote(s, safe=""),
        lambda s: quote(s, safe="!'()*"),
        quote_plus,
        lambda s: s.encode().hex(),
        lambda s: s.encode().hex().upper(),
    ],
    ids=[
        "raw",
        "json",
        "json-utf8",
        "go-json",
        "json-in-json",
        "go-json-in-json",
        "url",
        "url-all",
        "url-js",
        "url-plus",
        "hex",
        "upper-hex",
    ],
)
def test_each_encoding_of_a_secret_is_masked(
    secret: str, encode: Callable[[str], str]
) -> None:
    assert masked(secret, encode(secret)) == b"<" + MASK + b">"


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_masked_at_every_alignment(
    secret: str, before: int, after: int, encode: Callable[[bytes], bytes]
) -> None:
    raw = secret.encode()
    encoded = encode(b"u" * before + raw + b"v" * after)
    shown = masked(secret, encoded)
    assert MASK in shown
    # At most the characters shared with the neighbours are left.
    assert len(shown.replace(MASK, b"")) <= 2 + 3 + 6


PRINTS_EVERYTHING = r"""
variable "secret" {}
resource "terraform_data" "x" {
  input = {
    plain  = var.secret
    json   = jsonencode([var.secret])
    nested = jsonencode(jsonencode([var.secret]))
    lines  = "first\n${var.secret}\n"
    url    = urlencode(var.secret)
    base64 = base64encode("x${var.secret}")
  }
}
output "all" {
  value = jsonencode([var.secret])
}
"""


def test_nothing_terraform_prints_of_a_value_shows_it(
    terraform: str, tmp_path: Path
) -> None:
    """A plan that shows the value in every way terraform knows, by terraform itself."""
    (tmp_path / "main.tf").write_text(PRINTS_EVERYTHING)
    subprocess.run([terraform, "init"], cwd=tmp_path, check=True, capture_output=True)
    for secret in SECRETS:
        (tmp_path / "x.tfvars.json").write_text(json.dumps({"secret": secret}))
        printed = subprocess.run(
            [terraform, "plan", "-no-color", "-var-file=x.tfvars.json"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        ).stdout
        shown = masked(secret, printed).decode()
        lines = dict(re.findall(r"\+ (\w+) += (.*)", shown))
        assert lines["plain"] == '"***"', shown
        assert lines["nested"] == r'"\"[\\\"***\\\"]\""', shown
        assert lines["url"] == '"***"', shown
        assert "***" in lines["base64"], shown
        assert len(lines["base64"]) < len('"***"') + 8, shown
        assert shown.count('+ "***",') == 2, shown
        assert "first\n                ***\n" in shown, shown


def test_lines_of_a_multi_line_secret_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQ\nab\n-----END KEY-----\n"
    assert masked(key, "x MIIEvQIBADANBg y") == b"<x *** y>"
    assert masked(key, "x kqhkiG9w0BAQ y") == b"<x *** y>"
    assert masked(key, "ab") == b"<ab>"
    assert masked(key, key.strip()) == b"<" + MASK + b">"


def test_a_key_inside_json_is_masked_once_decoded() -> None:
    document = json.dumps({"private_key": "-----BEGIN-----\n" + "A1b2" * 16 + "\n"})
    assert masked(document, "A1b2" * 16) == b"<" + MASK + b">"


def test_space_around_a_secret_is_no_part_of_it() -> None:
    assert masked("abcd\n", "abcd") == b"<" + MASK + b">"
    assert all(not form.startswith(b"\n") for form in secret_forms(["\nabcd"]).patterns)


def test_short_secrets_are_counted_and_not_masked() -> None:
    forms = secret_forms(["abc", "", "  ", "ab", "long enough"])
    assert forms.too_short == 2
    assert all(len(pattern) >= 4 for pattern in forms.patterns)
    assert b"abc" not in forms.patterns


def test_plain_secrets_need_few_patterns() -> None:
    assert len(secret_forms(["hunter2hunter2"]).patterns) == 6


def test_strings_inside_a_sensitive_expression_are_secrets() -> None:
    variables = [
        OrderVariable(
            key="db",
            value='{ user = "admin-user", password = "p\\"w-$${x}" }',
            category="terraform",
            hcl=True,
            sensitive=True,
        ),
        OrderVariable(key="open", value="public", category="env"),
    ]
    values = sensitive_values(variables)
    assert "admin-user" in values
    assert 'p"w-$${x}' in values
    assert 'p\\"w-${x}' in values
    assert "public" not in values
    assert hcl_strings('["a", "bcde"]') == ["bcde"]


@pytest.mark.parametrize(
    "secret",
    [
        "correct horse battery staple",
        "a pass phrase of more words than one line of an error holds, wherever it begins",
    ],
)
def test_a_secret_that_terraform_wraps_is_masked_whole(
    terraform: str, tmp_path: Path, secret: str
) -> None:
    conditions = "".join(
        "precondition {\n"
        '  condition = terraform.workspace == "other"\n'
        f'  error_message = "{"x" * filler}: {secret} and more words until it wraps."\n'
        "}\n"
        for filler in range(1, 77)
    )
    (tmp_path / "main.tf").write_text(
        f'resource "terraform_data" "x" {{\n  lifecycle {{\n{conditions}}}\n}}\n'
    )
    subprocess.run([terraform, "init"], cwd=tmp_path, check=True, capture_output=True)
    for arguments in ([], ["-no-color"]):
        ran = subprocess.run(
            [terraform, "plan", *arguments],
            cwd=tmp_path,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        shown = masked(secret, ran.stdout)
        assert shown.count(MASK) == 76
        assert not re.search(rb"horse|battery|staple|phrase|holds|wherever", shown)
