"""Constructs that a submission may not use.

Hidden tests share a module and a process with the submission. A card is a set of pure functions, so what reaches out of
them (processes, files, threads, foreign code) is refused, and so is what could change the meaning of the hidden tests:
their `use super::*` brings in the submission's names and traits, where its name goes before the prelude's, its trait's
method before a type's own, and its macro before the standard one. The rules look at tokens and err towards refusing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from task_app import rust, rust_items
from task_app.rust import Kind, Token
from task_app.rust_items import is_path_separator, is_word, text
from task_app.rust_names import (
    INNER_ATTRIBUTES,
    OPERATOR_TRAITS,
    PRELUDE_TYPES,
    PRELUDE_VALUES,
    REFUSED_ATTRIBUTES,
    REFUSED_MACROS,
    STD_MACROS,
    STD_MODULES,
    STD_ROOTS,
    TRAIT_METHODS,
)

SUMMARY = """\
- no `unsafe`, `extern`, `macro_rules!`, or new traits
- no `impl` of PartialEq, PartialOrd, Not, Deref or DerefMut by hand (deriving is fine)
- no `include!`, `include_str!`, `include_bytes!`, `env!`, `option_env!`, `asm!`
- of the standard library no processes, files, input and output, environment, network, threads, or panic handling
- no item or import that takes a name of Rust's prelude (`Vec`, `Some`, ...) or of something the file imported at first
- the functions and constants that are there keep their types; helper functions, types and constants may be added
"""
"""For the agents to read."""

_KEYWORDS = {
    "unsafe": "`unsafe`",
    "extern": "`extern`",
    "macro_rules": "a macro of one's own",
    "trait": "a trait of one's own",
}
LARGEST = 128 * 1024
"""Characters of a submission; the reference solutions have some thousands."""
_DEEPEST = 256
"""Brackets within brackets; the compiler gives up earlier."""


@dataclass(frozen=True)
class Violation:
    line: int
    """From 1."""
    construct: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.construct}"


def violations(source: str, stub: str | None = None) -> list[Violation]:
    """All uses of a forbidden construct, by line; a construct that the stub has itself is allowed."""
    allowed = set() if stub is None else {found.construct for found in _violations(_Source(stub), None)}
    found = _violations(_Source(source), None if stub is None else _Source(stub))
    return sorted((each for each in found if each.construct not in allowed), key=lambda each: each.line)


class _Source:
    def __init__(self, content: str) -> None:
        self.content = content

    @cached_property
    def code(self) -> list[Token]:
        return rust.code(self.content)

    @cached_property
    def imports(self) -> list[rust_items.Import]:
        return list(rust_items.imports(self.code))

    @cached_property
    def definitions(self) -> list[rust_items.Definition]:
        return list(rust_items.definitions(self.code))

    @cached_property
    def types(self) -> dict[str, set[str]]:
        """Of functions, constants and statics, by name."""
        found = defaultdict(set)
        for definition, spelled in rust_items.signatures(self.code):
            found[definition.name].add(spelled)
        return found

    def violation(self, token: Token, construct: str) -> Violation:
        return Violation(self.content.count("\n", 0, token.start) + 1, construct)


def _violations(source: _Source, stub: _Source | None) -> set[Violation]:
    if broken := set(_broken(source)):
        return broken
    found = {violation for check in _CHECKS for violation in check(source)}
    if stub is not None:
        found.update(_against_stub(source, stub))
    return found


def _broken(source: _Source) -> Iterator[Violation]:
    """What would swallow the hidden tests, make the compiler read other tokens than we do, or keep us busy for long."""
    if len(source.content) > LARGEST:
        yield Violation(1, f"more than {LARGEST} characters")
        return
    if source.content.lstrip("\ufeff").startswith("#!") and text(source.code, 2) != "[":
        yield Violation(1, "a `#!` line")
    for token in rust.tokens(source.content):
        if not token.terminated:
            yield source.violation(token, "a string or comment without an end")
        elif token.kind is Kind.STRING and token.text.startswith("c"):
            yield source.violation(token, "a C string")
        elif token.kind not in (Kind.STRING, Kind.CHARACTER, Kind.COMMENT) and not token.text.isascii():
            yield source.violation(token, f"the character {token.text[0]!r} outside of strings and comments")
    if not _ends_item(source.code):
        yield source.violation(source.code[-1], "an item without an end, or brackets that do not match")


def _ends_item(found: list[Token]) -> bool:
    expected: list[str] = []
    for token in found:
        if token.kind is not Kind.PUNCTUATION:
            continue
        if token.text in rust.BRACKETS:
            expected.append(rust.BRACKETS[token.text])
            if len(expected) > _DEEPEST:
                return False
        elif token.text in rust.BRACKETS.values() and (not expected or expected.pop() != token.text):
            return False
    if not found:
        return True
    ends_in_attribute = any(each.end == len(found) and not each.inner for each in rust.attributes(found))
    return not expected and not ends_in_attribute and text(found, len(found) - 1) in ("}", ";", "]")


def _words(source: _Source) -> Iterator[Violation]:
    for index, token in enumerate(source.code):
        if token.kind is not Kind.IDENTIFIER or text(source.code, index - 1) == ".":
            continue
        if token.text in _KEYWORDS:
            yield source.violation(token, _KEYWORDS[token.text])
        elif token.text in REFUSED_MACROS and text(source.code, index + 1) == "!":
            yield source.violation(token, f"`{token.text}!`")


def _attributes(source: _Source) -> Iterator[Violation]:
    for attribute in rust.attributes(source.code):
        path = attribute.path
        if path in REFUSED_ATTRIBUTES or (attribute.inner and path not in INNER_ATTRIBUTES and "clippy" not in path):
            yield source.violation(source.code[attribute.start], f"the attribute `{path}`")


def _standard_library(source: _Source) -> Iterator[Violation]:
    for each in source.imports:
        root, *rest = each.path
        if root in STD_ROOTS and (not rest or rest[0] not in STD_MODULES):
            yield source.violation(each.token, f"`{'::'.join(each.path)}`")
    found = source.code
    for index, token in enumerate(found):
        if not is_word(token, *STD_ROOTS) or _is_inner_segment(found, index):
            continue
        if is_path_separator(found, index + 1) and text(found, index + 3) != "{":
            name, is_macro = text(found, index + 3), text(found, index + 4) == "!"
            if name not in STD_MODULES and not is_macro:
                yield source.violation(token, f"`{token.text}::{name}`")


def _is_inner_segment(found: list[Token], index: int) -> bool:
    """Whether a name is a field, or stands in a path after another: `crate::core`, but not `::core`."""
    if text(found, index - 1) == ".":
        return True
    return is_path_separator(found, index - 2) and (found[index - 3].kind is Kind.IDENTIFIER if index > 2 else False)


def _names(source: _Source) -> Iterator[Violation]:
    """Names that the hidden tests mean otherwise."""
    for each in source.imports:
        standard = each.path[0] in STD_ROOTS and each.alias is None
        if each.name in STD_MACROS or (each.name in PRELUDE_TYPES | PRELUDE_VALUES and not standard):
            yield source.violation(each.token, f"an import by the name `{each.name}`")
    for definition in source.definitions:
        if definition.name in _shadowed_by(definition.keyword):
            yield source.violation(definition.token, f"a definition of `{definition.name}`")
        elif definition.keyword == "mod" and definition.name.startswith("eval_tests"):
            yield source.violation(definition.token, "a module by the name of the hidden tests")
    for variant in rust_items.variants(source.code):
        if variant.text in PRELUDE_VALUES:
            yield source.violation(variant, f"a variant by the name `{variant.text}`")


def _shadowed_by(keyword: str) -> frozenset[str]:
    if keyword in ("fn", "const", "static"):
        return PRELUDE_VALUES
    return PRELUDE_TYPES | PRELUDE_VALUES if keyword == "struct" else PRELUDE_TYPES


def _implementations(source: _Source) -> Iterator[Violation]:
    """Types that equal whatever they are compared with, and methods that go before a trait's."""
    own = {definition.name for definition in source.definitions}
    for each in rust_items.implementations(source.code):
        if each.trait in OPERATOR_TRAITS:
            yield source.violation(each.token, f"an `impl {each.trait}` by hand")
        elif each.trait is None and each.type not in own:
            for method in each.methods:
                if method.text in TRAIT_METHODS:
                    yield source.violation(method, f"a method `{method.text}` for a type that is not the file's own")
    for imported in source.imports:
        if imported.alias and imported.path[-1] in OPERATOR_TRAITS:
            yield source.violation(imported.token, f"another name for `{imported.path[-1]}`")


_CHECKS: tuple[Callable[[_Source], Iterator[Violation]], ...] = (
    _words,
    _attributes,
    _standard_library,
    _names,
    _implementations,
)


def _against_stub(source: _Source, stub: _Source) -> Iterator[Violation]:
    """What the stub declares, and what its types speak of, stays what it is: the hidden tests were written for it."""
    declared = set(stub.types) | {definition.name for definition in stub.definitions}
    mentioned = {each.name for each in stub.imports}.union(
        *(spelled.split() for types in stub.types.values() for spelled in types)
    )
    for each in source.imports:
        if each.alias in mentioned | declared and each.renaming not in {known.renaming for known in stub.imports}:
            yield source.violation(each.token, f"another meaning of `{each.alias}`")
    for definition in source.definitions:
        if definition.name in mentioned - declared:
            yield source.violation(definition.token, f"another definition of `{definition.name}`")
    for definition, spelled in rust_items.signatures(source.code):
        if definition.name in stub.types and spelled not in stub.types[definition.name]:
            yield source.violation(definition.token, f"another type of `{definition.name}`")
