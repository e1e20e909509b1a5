"""Finds where the text of an HCL expression is broken: what is opened in it and never closed.

Brackets, strings, templates, comments and heredocs are followed as terraform's own scanner
does. What the expression means, and whether terraform takes it, is terraform's to say:
nothing that it reads is refused here.
"""

import re
from dataclasses import dataclass

_PLAIN = re.compile(r"[^\n\"#/<(\[{}\])]+")
_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_HEREDOC = re.compile(r"<<-?(\S+)(?:\r?\n|\Z)")
_QUOTED = re.compile(r"(?:[^\"\\\n\r$%]|\\[^\n\r])+")
_HEREDOC_TEXT = re.compile(r"[^\n$%]+")
# doubled, a sign says that no template begins
_ESCAPED = re.compile(r"(?:\$\$+|%%+)\{?|[$%](?!\{)")
_CLOSED_BY = {"(": ")", "[": "]", "{": "}", "${": "}", "%{": "}"}
_BRACKETS = frozenset(_CLOSED_BY) - {"${", "%{"}
_CALLED = {'"': "the string", "${": "the template `${`", "%{": "the template `%{`"}


class BrokenHclError(ValueError):
    """The text is no expression; the message says where and why, and shows none of it."""


@dataclass(frozen=True, slots=True)
class _Open:
    """Something that has to be closed; ``marker`` where it is a heredoc."""

    sign: str
    at: int
    marker: str = ""


def check_expression(text: str) -> None:
    """Refuse what cannot be one whole expression.

    Raises:
        BrokenHclError: it is not.
    """
    _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[_Open] = []
        self._begun = False
        self._ended = False
        self._line_start = True

    def run(self) -> None:
        while self._at < len(self._text):
            inner = self._open[-1] if self._open else None
            if inner is None or inner.sign in _CLOSED_BY:
                self._expression()
            elif inner.marker:
                self._heredoc(inner)
            else:
                self._string(inner)
        if self._open:
            raise BrokenHclError(f"{self._named(self._open[-1])} is not closed")
        if not self._begun:
            raise BrokenHclError("there is no expression")

    # --- an expression ---

    def _expression(self) -> None:
        sign = self._text[self._at]
        if sign == "\n":
            self._newline()
        elif sign in " \t\r":
            self._at += 1
        elif comment := _COMMENT.match(self._text, self._at):
            self._at = comment.end()
        elif self._text.startswith("/*", self._at):
            raise BrokenHclError(f"the comment {self._here()} does not end")
        else:
            self._content(sign)

    def _newline(self) -> None:
        if not self._open:
            if not self._begun:
                raise BrokenHclError("the expression does not begin in the first line")
            self._ended = True
        self._at += 1

    def _content(self, sign: str) -> None:
        if self._ended:
            raise BrokenHclError(
                f"the expression ends with its line, and more stands {self._here()};"
                " to go on in another line it needs brackets around it"
            )
        self._begun = True
        if heredoc := _HEREDOC.match(self._text, self._at):
            self._open.append(_Open("<<", self._at, heredoc[1]))
            self._at = heredoc.end()
            self._line_start = True
        elif sign == '"' or sign in _BRACKETS:
            self._open.append(_Open(sign, self._at))
            self._at += 1
        elif sign in ")]}":
            self._close(sign)
        elif self._text.startswith("<<", self._at):
            raise BrokenHclError(
                f"`<<` {self._here()} begins a heredoc, whose marker has to be a name at the"
                " end of the line"
            )
        elif plain := _PLAIN.match(self._text, self._at):
            self._at = plain.end()
        else:
            self._at += 1

    def _close(self, sign: str) -> None:
        if not self._open:
            raise BrokenHclError(f"the bracket `{sign}` {self._here()} closes nothing")
        inner = self._open.pop()
        if _CLOSED_BY[inner.sign] != sign:
            raise BrokenHclError(
                f"the bracket `{sign}` {self._here()} stands where"
                f" `{_CLOSED_BY[inner.sign]}` has to close {self._named(inner)}"
            )
        self._at += 1

    # --- what is inside quotes and heredocs ---

    def _string(self, inner: _Open) -> None:
        sign = self._text[self._at]
        if sign == '"':
            self._open.pop()
            self._at += 1
        elif sign in "\n\r":
            raise BrokenHclError(f"{self._named(inner)} does not end in its line")
        elif literal := _QUOTED.match(self._text, self._at):
            self._at = literal.end()
        else:
            self._template()

    def _heredoc(self, inner: _Open) -> None:
        if self._line_start:
            self._line_start = False
            end = self._text.find("\n", self._at)
            end = len(self._text) if end < 0 else end
            if self._text[self._at : end].strip() == inner.marker:
                self._open.pop()
                self._at = end
                return
        if self._text[self._at] == "\n":
            self._line_start = True
            self._at += 1
        elif literal := _HEREDOC_TEXT.match(self._text, self._at):
            self._at = literal.end()
        else:
            self._template()

    def _template(self) -> None:
        """At a `$`, a `%`, or a backslash at the text's end."""
        if escaped := _ESCAPED.match(self._text, self._at):
            self._at = escaped.end()
        elif self._text[self._at] == "\\":
            self._at += 1
        else:
            self._open.append(_Open(self._text[self._at : self._at + 2], self._at))
            self._at += 2

    # --- words ---

    def _named(self, inner: _Open) -> str:
        if inner.marker:
            called = "the heredoc"
        else:
            called = _CALLED.get(inner.sign, f"the bracket `{inner.sign}`")
        return f"{called} {self._place(inner.at)}"

    def _here(self) -> str:
        return self._place(self._at)

    def _place(self, at: int) -> str:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return f"in line {line}, column {column}"
