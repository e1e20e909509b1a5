"""Decides which byte strings betray a secret: the value itself and what encoders make of it."""

import base64
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from sluice.wire.agent import OrderVariable

MIN_SECRET = 4
TOO_SHORT = (
    "{} sensitive value(s) of less than 4 characters cannot be masked in this output."
)
MIN_LINE = 6
MIN_ESCAPED_LINE = 16

# What encoders leave as it is besides letters, digits and `_.-~`: Go's url.QueryEscape and
# Python's quote(safe=""), quote, Go's PathEscape and UserPassword, JavaScript's
# encodeURIComponent.
_URL_SAFE = ("", "/", "$&+=:@", "$&+,;=", "!'()*")
_HCL_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_NESTING = 3
_GO_SHORT = {
    "\\": "\\\\",
    '"': '\\"',
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
ASCII_END = 0x80
BMP_LAST = 0xFFFF
# What terraform puts where it wraps a diagnostic's text, and after how many columns:
# plain, with its frame, and with its frame in the colour of an error or a warning.
_WRAPS = (
    ("\n", 78),
    ("\n\u2502 ", 76),
    ("\n\x1b[31m\u2502\x1b[0m \x1b[0m", 76),
    ("\n\x1b[33m\u2502\x1b[0m \x1b[0m", 76),
)
_MAX_WRAPS = 64
_ESCAPED_NEWLINE = re.compile(r"\\r?\\n|\\n")


@dataclass(frozen=True, slots=True)
class SecretForms:
    """All patterns to mask, and how many secrets were too short to be masked."""

    patterns: tuple[bytes, ...]
    too_short: int


def secret_forms(secrets: Iterable[str]) -> SecretForms:
    """Every form of every secret of at least 4 bytes, without repetitions.

    White space around a secret is no part of it. A shorter secret cannot be masked: it
    would black out half the log; the caller must say so.
    """
    patterns: dict[bytes, None] = {}
    too_short = 0
    for secret in dict.fromkeys(secrets):
        value = secret.strip()
        if not value:
            continue
        if len(_utf8(value)) < MIN_SECRET:
            too_short += 1
            continue
        # Terraform composes characters (NFC) in every string it reads.
        for spelling in {value, unicodedata.normalize("NFC", value)}:
            patterns.update(dict.fromkeys(_forms(spelling)))
    kept = (form for form in patterns if len(form) >= MIN_SECRET)
    return SecretForms(tuple(kept), too_short)


def sensitive_values(variables: Iterable[OrderVariable]) -> list[str]:
    """The secrets in a phase's variables.

    Of a sensitive HCL expression that is the expression and each quoted string in it: what
    terraform prints are the strings.
    """
    values: list[str] = []
    for variable in variables:
        if not variable.sensitive:
            continue
        values.append(variable.value)
        if variable.hcl:
            values += hcl_strings(variable.value)
    return values


def hcl_strings(expression: str) -> list[str]:
    """The quoted strings of an HCL expression, unescaped where that is plain."""
    found: list[str] = []
    for literal in _HCL_STRING.findall(expression):
        found.append(literal)
        if "\\" in literal:
            try:
                found.append(str(json.loads(f'"{literal}"', strict=False)))
            except ValueError:
                continue
        if "$${" in literal or "%%{" in literal:
            found.append(literal.replace("$${", "${").replace("%%{", "%{"))
    return [text for text in found if len(_utf8(text.strip())) >= MIN_SECRET]


def _forms(value: str) -> Iterator[bytes]:
    yield _utf8(value)
    yield from _escaped(value)
    yield from _base64_forms(_utf8(value))
    yield _utf8(value).hex().encode()
    yield _utf8(value).hex().upper().encode()
    yield from _wrapped(value)
    for line in _lines(value):
        yield _utf8(line)
        yield from _escaped(line)


def _lines(value: str) -> Iterator[str]:
    """The lines of a multi-line secret that are long enough to be told from other text."""
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= MIN_LINE)
    pieces = _ESCAPED_NEWLINE.split(value)
    if len(pieces) > 1:
        # A key inside a JSON document, which prints as lines once it is decoded.
        yield from (piece for piece in pieces if len(piece) >= MIN_ESCAPED_LINE)


def _wrapped(value: str) -> Iterator[bytes]:
    """A secret of several words as terraform's diagnostics wrap it, from any column on."""
    spaces = [at for at, char in enumerate(value) if char == " "]
    for first in spaces[:_MAX_WRAPS]:
        for wrap, columns in _WRAPS:
            lines = [value[:first], *_filled(value[first + 1 :], columns)]
            yield _utf8(wrap.join(lines))


def _filled(text: str, columns: int) -> list[str]:
    """A text wrapped at spaces as terraform does: a word that is too long stays whole."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and len(joined) > columns:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def _escaped(value: str) -> Iterator[bytes]:
    """What JSON, HCL, Go and URL encoders write for a text."""
    texts = set(_string_forms(value))
    for _ in range(_NESTING - 1):
        texts |= {again for text in texts for again in _nested_forms(text)}
    yield from map(_utf8, sorted(texts))
    raw = _utf8(value)
    for safe in _URL_SAFE:
        encoded = quote(raw, safe=safe)
        yield encoded.encode()
        yield _PERCENT.sub(lambda hit: hit[0].lower(), encoded).encode()
    yield quote_plus(raw).encode()


def _string_forms(value: str) -> Iterator[str]:
    """A text between quotes: JSON in ASCII or not, as Go writes it, Go's %q, HCL."""
    plain = _json(value, ascii_only=False)
    for text in (plain, _json(value, ascii_only=True)):
        yield text
        yield _go_html(text)
    yield plain.replace("/", "\\/")
    # Go before 1.22 spells these two out.
    yield _go_html(plain.replace("\\b", "\\u0008").replace("\\f", "\\u000c"))
    yield _go_quoted(value)
    yield hcl_quoted(value)


def _nested_forms(text: str) -> Iterator[str]:
    """A text that is already between quotes, once more: JSON in JSON in a plan."""
    plain = _json(text, ascii_only=False)
    yield plain
    yield _json(text, ascii_only=True)
    yield _go_html(plain)
    yield _go_quoted(text)


def _json(value: str, *, ascii_only: bool) -> str:
    return json.dumps(value, ensure_ascii=ascii_only)[1:-1]


def _go_html(text: str) -> str:
    """As Go's encoding/json escapes for HTML, which is its default."""
    for plain, escaped in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(plain, escaped)
    return text


def _go_quoted(text: str) -> str:
    """As Go's %q, which is how terraform prints strings in plans and outputs."""
    return "".join(map(_go_quoted_char, text))


def _go_quoted_char(char: str) -> str:
    if char in _GO_SHORT:
        return _GO_SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < ASCII_END:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= BMP_LAST else f"\\U{code:08x}"


def hcl_quoted(value: str) -> str:
    """A text as it stands between the quotes of an HCL string."""
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text.replace("${", "$${").replace("%{", "%%{")


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The characters that a secret determines wherever it stands in an encoded text.

    Standing 0, 1 or 2 bytes after a multiple of three, its first and last characters mix
    with its neighbours; only those made of its own bits alone are taken.
    """
    for before in range(3):
        skipped = -(-before * 8 // 6)
        whole = (before + len(raw)) * 8 // 6
        encoded = base64.b64encode(bytes(before) + raw)[skipped:whole]
        yield encoded
        yield encoded.translate(_TO_URLSAFE)


_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


def _utf8(text: str) -> bytes:
    """As bytes; what cannot be UTF-8 (a lone surrogate) stays what the process writes."""
    return text.encode("utf-8", "surrogatepass")
