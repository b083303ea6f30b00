"""A small scanner of Rust sources: enough to find tests, function bodies and module declarations in any text.

It never fails: what is no Rust comes out as punctuation. Tokens keep their offsets, so that whatever is not changed
stays byte for byte. Lexical rules: The Rust Reference, "Lexical structure".
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

BRACKETS = {"(": ")", "[": "]", "{": "}"}
_CLOSING = frozenset(BRACKETS.values())

_RAW_STRING = re.compile(r'(?:br|cr|r)(#*)"')
_QUOTED = re.compile(r'[bc]?"')
_CHARACTER = re.compile(r"b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]*\}|.)|[^\\'\n])'", re.DOTALL)
_LIFETIME = re.compile(r"'(?:r#)?[^\W\d]\w*")
_IDENTIFIER = re.compile(r"(?:r#)?[^\W\d]\w*")
_NUMBER = re.compile(r"\d(?:[\w]|\.(?=\d))*")
_SPACE = re.compile(r"[\s\u200e\u200f]+")


class Kind(Enum):
    SPACE = auto()
    COMMENT = auto()
    STRING = auto()
    CHARACTER = auto()
    LIFETIME = auto()
    IDENTIFIER = auto()
    NUMBER = auto()
    PUNCTUATION = auto()
    """One character."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    """As it stands, but an identifier without its `r#`."""
    start: int
    end: int
    """Offsets in the source."""
    terminated: bool = True
    """False for a comment or string that the end of the source cuts off."""


def tokens(source: str) -> list[Token]:
    """All of the source, in order and without gaps."""
    found = []
    position = 0
    while position < len(source):
        token = _next(source, position)
        found.append(token)
        position = token.end
    return found


def code(source: str) -> list[Token]:
    """The tokens that mean something: no space, no comment."""
    return [token for token in tokens(source) if token.kind not in (Kind.SPACE, Kind.COMMENT)]


def _next(source: str, at: int) -> Token:
    if source.startswith("//", at):
        end = source.find("\n", at)
        return _token(Kind.COMMENT, source, at, len(source) if end < 0 else end)
    if source.startswith("/*", at):
        return _block_comment(source, at)
    if raw := _RAW_STRING.match(source, at):
        return _until(source, at, raw.end(), '"' + raw[1])
    if quoted := _QUOTED.match(source, at):
        return _string(source, at, quoted.end())
    for pattern, kind in _PATTERNS:
        if match := pattern.match(source, at):
            return _token(kind, source, at, match.end())
    return _token(Kind.PUNCTUATION, source, at, at + 1)


_PATTERNS = (
    (_SPACE, Kind.SPACE),
    (_CHARACTER, Kind.CHARACTER),
    (_LIFETIME, Kind.LIFETIME),
    (_IDENTIFIER, Kind.IDENTIFIER),
    (_NUMBER, Kind.NUMBER),
)


def _token(kind: Kind, source: str, start: int, end: int, terminated: bool = True) -> Token:
    text = source[start:end]
    if kind is Kind.IDENTIFIER:
        text = text.removeprefix("r#")
    return Token(kind, text, start, end, terminated)


def _block_comment(source: str, start: int) -> Token:
    depth, at = 1, start + 2
    while depth:
        opening, closing = source.find("/*", at), source.find("*/", at)
        if closing < 0:
            return _token(Kind.COMMENT, source, start, len(source), terminated=False)
        if 0 <= opening < closing:
            depth, at = depth + 1, opening + 2
        else:
            depth, at = depth - 1, closing + 2
    return _token(Kind.COMMENT, source, start, at)


def _until(source: str, start: int, at: int, delimiter: str) -> Token:
    end = source.find(delimiter, at)
    if end < 0:
        return _token(Kind.STRING, source, start, len(source), terminated=False)
    return _token(Kind.STRING, source, start, end + len(delimiter))


def _string(source: str, start: int, at: int) -> Token:
    while at < len(source):
        if source[at] == "\\":
            at += 2
        elif source[at] == '"':
            return _token(Kind.STRING, source, start, at + 1)
        else:
            at += 1
    return _token(Kind.STRING, source, start, len(source), terminated=False)


def closing(found: Sequence[Token], opening: int) -> int:
    """Index of the token that closes the bracket at `opening`; of the last token where none does."""
    depth = 0
    for index in range(opening, len(found)):
        if found[index].kind is not Kind.PUNCTUATION:
            continue
        if found[index].text in BRACKETS:
            depth += 1
        elif found[index].text in _CLOSING:
            depth -= 1
            if depth == 0:
                return index
    return len(found) - 1


@dataclass(frozen=True)
class Attribute:
    """`#[...]`, or `#![...]` where `inner`: indexes of its first token and of the one after it, and what is inside."""

    start: int
    end: int
    inner: bool
    content: tuple[Token, ...]

    @property
    def path(self) -> str:
        words = []
        for token in self.content:
            if token.kind is not Kind.IDENTIFIER and token.text != ":":
                break
            words.append(token.text)
        return "".join(words)


def attributes(found: Sequence[Token]) -> Iterator[Attribute]:
    """All attributes, also those within function bodies."""
    for index, token in enumerate(found):
        if token.text != "#" or token.kind is not Kind.PUNCTUATION:
            continue
        inner = _is(found, index + 1, "!")
        bracket = index + 1 + inner
        if _is(found, bracket, "["):
            end = closing(found, bracket)
            yield Attribute(index, end + 1, inner, tuple(found[bracket + 1 : end]))


def _is(found: Sequence[Token], index: int, text: str) -> bool:
    return 0 <= index < len(found) and found[index].text == text and found[index].kind is not Kind.STRING


def test_paths(source: str) -> list[str]:
    """The functions marked `#[test]`, each with the modules around it: `eval_tests::deals_thirty`."""
    found = code(source)
    marked = _marked_as_test(found)
    modules: list[tuple[str, int]] = []
    paths = []
    for index, token in enumerate(found):
        while modules and index > modules[-1][1]:
            modules.pop()
        if token.text == "mod" and _named(found, index) and _is(found, index + 2, "{"):
            modules.append((found[index + 1].text, closing(found, index + 2)))
        elif index in marked:
            paths.append("::".join([*(name for name, _ in modules), found[index + 1].text]))
    return paths


def test_names(source: str) -> list[str]:
    """The functions marked `#[test]`, by name alone, in order."""
    return [path.rpartition("::")[2] for path in test_paths(source)]


def _marked_as_test(found: Sequence[Token]) -> set[int]:
    """Indexes of the `fn` of each function that has the attribute `test` somewhere before it."""
    marked = set()
    ends = {attribute.start: attribute for attribute in attributes(found)}
    for attribute in ends.values():
        if attribute.path != "test" or attribute.inner:
            continue
        index = attribute.end
        while index in ends:
            index = ends[index].end
        while index < len(found) and found[index].text in _QUALIFIERS:
            index = closing(found, index + 1) + 1 if _is(found, index + 1, "(") else index + 1
        if _is(found, index, "fn") and _named(found, index):
            marked.add(index)
    return marked


_QUALIFIERS = frozenset({"pub", "async", "const", "unsafe", "extern"})


def _named(found: Sequence[Token], keyword: int) -> bool:
    return keyword + 1 < len(found) and found[keyword + 1].kind is Kind.IDENTIFIER


def blank_bodies(source: str, functions: Collection[str] | None = None) -> str:
    """The source with the body of each `pub fn` replaced by `{ todo!() }`, everything else byte for byte the same.

    Args:
        functions: names of the functions to blank; None: all that are `pub`, `pub(crate)` and the like.
    """
    found = code(source)
    pieces, kept = [], 0
    for start, end in _bodies(found, functions):
        if found[start].start < kept:  # inside a body that is blanked already
            continue
        pieces += [source[kept : found[start].start], "{\n    todo!()\n}"]
        kept = found[end].end
    return "".join([*pieces, source[kept:]])


def _bodies(found: Sequence[Token], functions: Collection[str] | None) -> Iterator[tuple[int, int]]:
    for index, token in enumerate(found):
        if token.text != "fn" or token.kind is not Kind.IDENTIFIER or not _named(found, index):
            continue
        wanted = functions is None or found[index + 1].text in functions
        if wanted and _is_public(found, index) and (start := _body(found, index)) is not None:
            yield start, closing(found, start)


def _is_public(found: Sequence[Token], function: int) -> bool:
    """Walks back over `const unsafe extern "C"` and the parentheses of `pub(crate)`."""
    index = function - 1
    while index >= 0 and (found[index].text in _QUALIFIERS - {"pub"} or found[index].kind is Kind.STRING):
        index -= 1
    if _is(found, index, ")"):
        while index > 0 and found[index].text != "(":
            index -= 1
        index -= 1
    return _is(found, index, "pub")


def _body(found: Sequence[Token], function: int) -> int | None:
    """Index of the `{` of a function's body; None for a declaration. Braces in (..), [..] and <..> belong to types."""
    index, angles = function + 2, 0
    while index < len(found) and not (angles == 0 and _is(found, index, "{")):
        if _is(found, index, ";") or _is(found, index, "}"):
            return None
        if found[index].kind is Kind.PUNCTUATION and found[index].text in BRACKETS:
            index = closing(found, index)
        elif _is(found, index, "<"):
            angles += 1
        elif _is(found, index, ">") and not _is(found, index - 1, "-"):
            angles -= 1
        index += 1
    return index if index < len(found) else None


def module_declared(source: str, name: str) -> bool:
    """Whether the source has `mod name;` or `mod name {`."""
    found = code(source)
    return any(
        token.text == "mod"
        and _is(found, index + 1, name)
        and (_is(found, index + 2, ";") or _is(found, index + 2, "{"))
        for index, token in enumerate(found)
    )
