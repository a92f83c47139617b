"""Calico's selector language over labels: parsed once, matched often. Pure.

The rule: a text that Calico's own parser would refuse is refused here, before any host is asked
(grammar: libcalico-go/lib/selector).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

#: Whether labels match.
Match = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<op>&&|\|\||==|!=|!|\(|\)|\{|\}|,)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<call>(?:has|all|global)\s*\()"
    r"|(?P<word>not\s+in\b|starts\s+with\b|ends\s+with\b|in\b|contains\b)"
    r"|(?P<key>[a-zA-Z0-9_./-]+))"
)


def parse(text: str) -> Match:
    """The predicate of a selector; ValueError says what is wrong with it and what to write."""
    return _Parser(text).whole()


def keys(text: str) -> frozenset[str]:
    """The labels that a selector looks at; ValueError as `parse`."""
    parser = _Parser(text)
    parser.whole()
    return frozenset(parser.keys)


class _Parser:
    """Recursive descent: or, and, not, one comparison."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.keys: set[str] = set()
        self._tokens = self._split(text)
        self._at = 0

    def _split(self, text: str) -> list[tuple[str, str]]:
        found, at = [], 0
        while text[at:].strip():
            token = _TOKEN.match(text, at)
            if token is None:
                raise self._wrong()
            kind = str(token.lastgroup)
            found.append((kind, re.sub(r"\s+", " ", token.group(kind))))
            at = token.end()
        return found

    def _wrong(self) -> ValueError:
        return ValueError(
            f"not a Calico selector: {self.text!r}; write it as all(), has(key) or key == 'value',"
            " joined by && and ||"
        )

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, kind: str, value: str = "") -> str:
        found = self._next()
        if found[0] != kind or (value and found[1] != value):
            raise self._wrong()
        self._at += 1
        return found[1]

    def _skip(self, value: str) -> bool:
        if self._next() != ("op", value):
            return False
        self._at += 1
        return True

    def whole(self) -> Match:
        """The predicate of the whole text; an empty one matches everything, as in Calico."""
        found = self._either() if self._tokens else _everything
        if self._next()[0] != "end":
            raise self._wrong()
        return found

    def _either(self) -> Match:
        parts = [self._both()]
        while self._skip("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda labels: any(p(labels) for p in parts)

    def _both(self) -> Match:
        parts = [self._one()]
        while self._skip("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda labels: all(p(labels) for p in parts)

    def _one(self) -> Match:
        if self._skip("!"):
            inner = self._one()
            return lambda labels: not inner(labels)
        if self._skip("("):
            inner = self._either()
            self._take("op", ")")
            return inner
        if self._next()[0] == "call":
            return self._call()
        return self._comparison(self._take("key"))

    def _call(self) -> Match:
        name = self._take("call").rstrip("( ")
        if name == "has":
            key = self._take("key")
            self.keys.add(key)
            self._take("op", ")")
            return lambda labels: key in labels
        self._take("op", ")")
        return _everything

    def _comparison(self, key: str) -> Match:
        self.keys.add(key)
        if self._skip("=="):
            text = self._text()
            return lambda labels: labels.get(key) == text
        if self._skip("!="):
            text = self._text()
            # a label that is not there is different, too
            return lambda labels: labels.get(key) != text
        word = self._take("word")
        if word in ("in", "not in"):
            values = self._values()
            if word == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
        text = self._text()
        return _WORDS[word](key, text)

    def _text(self) -> str:
        return self._take("text")[1:-1]

    def _values(self) -> frozenset[str | None]:
        self._take("op", "{")
        found: set[str | None] = set()
        while not self._skip("}"):
            found.add(self._text())
            if not self._skip(",") and self._next() != ("op", "}"):
                raise self._wrong()
        return frozenset(found)


def _everything(labels: Mapping[str, str]) -> bool:
    return True


_WORDS: Mapping[str, Callable[[str, str], Match]] = {
    "contains": lambda key, text: lambda labels: text in labels[key] if key in labels else False,
    "starts with": lambda key, text: lambda labels: labels.get(key, "\0").startswith(text),
    "ends with": lambda key, text: lambda labels: labels.get(key, "\0").endswith(text),
}
