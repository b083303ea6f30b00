"""What a Rust source imports, defines and implements, as far as its tokens tell. Never fails, like the scanner."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from task_app.rust import Kind, Token, closing

_LONGEST_HEAD = 4096
"""Tokens of a `use`, or of an item before its body."""

DEFINING = frozenset({"struct", "enum", "union", "trait", "type", "mod", "fn", "const", "static"})


@dataclass(frozen=True)
class Import:
    """One name brought in by a `use`: `use std::{fmt::Debug as D}` has the path std, fmt, Debug and the alias D."""

    path: tuple[str, ...]
    """Without a leading `::`; ends in `*` for all of a module."""
    alias: str | None
    token: Token

    @property
    def renaming(self) -> tuple[tuple[str, ...], str | None]:
        """What it says, wherever it stands."""
        return self.path, self.alias

    @property
    def name(self) -> str:
        """How it is called here."""
        return self.alias or (self.path[-2] if self.path[-1] == "self" and len(self.path) > 1 else self.path[-1])


@dataclass(frozen=True)
class Definition:
    """An item with a name, at any depth: also methods, associated types, and functions within functions."""

    keyword: str
    name: str
    token: Token
    index: int
    """Of the name, in the tokens."""


@dataclass(frozen=True)
class Implementation:
    """An `impl` block: the last names of its trait, None for an inherent one, and of its type, and its methods."""

    trait: str | None
    type: str | None
    methods: tuple[Token, ...]
    token: Token


def is_word(token: Token, *words: str) -> bool:
    return token.kind is Kind.IDENTIFIER and token.text in words


def text(found: Sequence[Token], index: int) -> str:
    """The text of a token, empty beyond the ends and for strings, so that it can be compared with punctuation."""
    if not 0 <= index < len(found) or found[index].kind in (Kind.STRING, Kind.CHARACTER):
        return ""
    return found[index].text


def _find(found: Sequence[Token], start: int, *wanted: str) -> int:
    """Index of the first token that is one of these. Far off it is no part of the item, so the search is bounded."""
    end = min(start + _LONGEST_HEAD, len(found) - 1)
    return next((index for index in range(start, end) if text(found, index) in wanted), end)


def is_path_separator(found: Sequence[Token], index: int) -> bool:
    """Whether `::` starts at the index."""
    return text(found, index) == ":" and text(found, index + 1) == ":"


def imports(found: Sequence[Token]) -> Iterator[Import]:
    for index, token in enumerate(found):
        # `impl Trait + use<'a>` captures lifetimes and imports nothing
        if is_word(token, "use") and text(found, index + 1) != "<":
            end = _find(found, index, ";")
            yield from _tree(found[index + 1 : end], ())


def _tree(found: Sequence[Token], prefix: tuple[str, ...]) -> Iterator[Import]:
    path, alias, last = list(prefix), None, None
    index = 0
    while index < len(found):
        token = found[index]
        if token.text == "{":
            end = closing(found, index)
            for branch in _split(found[index + 1 : end]):
                yield from _tree(branch, tuple(path))
            return
        if is_word(token, "as") and index + 1 < len(found):
            alias, last = found[index + 1].text, found[index + 1]
            index += 1
        elif token.kind is Kind.IDENTIFIER or token.text == "*":
            path.append(token.text)
            last = token
        index += 1
    if last is not None:
        yield Import(tuple(path), alias, last)


def _split(found: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """At the commas that are in no bracket."""
    start = index = 0
    while index < len(found):
        if text(found, index) in ("(", "[", "{"):
            index = closing(found, index)
        elif text(found, index) == ",":
            yield found[start:index]
            start = index + 1
        index += 1
    yield found[start:]


def definitions(found: Sequence[Token]) -> Iterator[Definition]:
    for index, token in enumerate(found):
        if not is_word(token, *DEFINING):
            continue
        name = index + 1 + (text(found, index + 1) == "mut")
        # `const fn f` defines a function, `fn(u32)` and `*const T` nothing
        if text(found, index - 1) == "*" or name >= len(found):
            continue
        if found[name].kind is Kind.IDENTIFIER and not is_word(found[name], *_NO_NAMES):
            yield Definition(token.text, found[name].text, found[name], name)


_NO_NAMES = DEFINING | {"async", "unsafe", "extern"}


def variants(found: Sequence[Token]) -> Iterator[Token]:
    """The names of all enums' variants."""
    for definition in definitions(found):
        if definition.keyword != "enum":
            continue
        opening = _find(found, definition.index, "{")
        for branch in _split(found[opening + 1 : closing(found, opening)]):
            index = 0
            while text(branch, index) == "#":
                index = closing(branch, index + 1) + 1
            if index < len(branch) and branch[index].kind is Kind.IDENTIFIER:
                yield branch[index]


def implementations(found: Sequence[Token]) -> Iterator[Implementation]:
    for index, token in enumerate(found):
        # not the `impl Trait` of a type: an item starts where another one or a block has ended
        if not is_word(token, "impl") or not _starts_item(found, index):
            continue
        opening = _find(found, index, "{")
        body = found[opening : closing(found, opening) + 1]
        methods = tuple(item.token for item in definitions(body) if item.keyword == "fn")
        yield Implementation(*_header(found[index + 1 : opening]), methods, token)


def _starts_item(found: Sequence[Token], index: int) -> bool:
    return text(found, index - 1) in ("", "}", ";", "{", "]", "unsafe", "default")


def _header(header: Sequence[Token]) -> tuple[str | None, str | None]:
    """The last names of trait and type in `impl<T: Bound<A>> path::Trait<B> for path::Type<C> where ...`."""
    depth, trait, name = 0, None, None
    for index, token in enumerate(header):
        if token.text == "<":
            depth += 1
        elif token.text == ">" and text(header, index - 1) not in ("-", "="):
            depth -= 1
        elif depth > 0 or token.kind is not Kind.IDENTIFIER:
            continue
        elif token.text == "where":
            break
        elif token.text == "for" and text(header, index + 1) != "<":
            trait, name = name, None
        else:
            name = token.text
    return trait, name


def signatures(found: Sequence[Token]) -> Iterator[tuple[Definition, str]]:
    """The type of each function, constant and static: a function's without the names of its parameters."""
    for definition in definitions(found):
        if definition.keyword == "fn":
            yield definition, _function_type(found, definition.index + 1)
        elif definition.keyword in ("const", "static"):
            end = _find(found, definition.index, "=", ";")
            yield definition, _spelled(found[definition.index + 1 : end])


def _function_type(found: Sequence[Token], start: int) -> str:
    opening = _find(found, start, "(")
    end = closing(found, opening)
    parameters = [_parameter_type(branch) for branch in _split(found[opening + 1 : end]) if branch]
    result_end = _find(found, end, "{", ";")
    return f"{_spelled(found[start:opening])}({', '.join(parameters)}){_spelled(found[end + 1 : result_end])}"


def _parameter_type(found: Sequence[Token]) -> str:
    """What follows the pattern: the agent may call a parameter as it likes, or make it `mut`."""
    for index in range(1, len(found)):
        if text(found, index) == ":" and ":" not in (text(found, index - 1), text(found, index + 1)):
            return _spelled(found[index + 1 :])
    return _spelled([token for token in found if token.text != "mut" or text(found, 0) == "&"])


def _spelled(found: Sequence[Token]) -> str:
    return " ".join(token.text for token in found).removesuffix(" ,")
