"""The scanner: what it finds in honest sources, and that nothing makes it fail."""

import random

import pytest

from task_app import rust
from task_app.rust import Kind, blank_bodies, code, module_declared, test_names, test_paths, tokens

test_names.__test__ = False  # type: ignore[attr-defined]
test_paths.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("// fn x() {}", Kind.COMMENT),
        ("/* a /* b */ c */", Kind.COMMENT),
        ("/*/ still */", Kind.COMMENT),
        ('"a \\" b"', Kind.STRING),
        ('"two\nlines"', Kind.STRING),
        ('b"bytes\\""', Kind.STRING),
        ('r"raw \\"', Kind.STRING),
        ('r##"a "# b"##', Kind.STRING),
        ('br#"a"#', Kind.STRING),
        ('c"nul"', Kind.STRING),
        ("'x'", Kind.CHARACTER),
        ("'\"'", Kind.CHARACTER),
        ("'\\''", Kind.CHARACTER),
        ("b'\\\\'", Kind.CHARACTER),
        ("'\\u{1F600}'", Kind.CHARACTER),
        ("'static", Kind.LIFETIME),
        ("r#type", Kind.IDENTIFIER),
        ("übung_2", Kind.IDENTIFIER),
        ("1_000u32", Kind.NUMBER),
        ("1.5e3", Kind.NUMBER),
    ],
)
def test_knows_a_token_by_its_spelling(source: str, kind: Kind) -> None:
    (token,) = tokens(source)
    assert (token.kind, token.terminated) == (kind, True)


@pytest.mark.parametrize("source", ['"', "/*", "/* /* */", 'r#"x"', '"\\'])
def test_tells_what_has_no_end(source: str) -> None:
    assert not tokens(source)[-1].terminated


def test_tells_lifetimes_from_characters() -> None:
    found = [token.text for token in code("fn f<'a>(x: &'a str) -> char { 'a' }") if "'" in token.text]
    assert found == ["'a", "'a", "'a'"]


def test_a_raw_identifier_is_the_identifier() -> None:
    assert [token.text for token in code("r#match x")] == ["match", "x"]


TESTS = """
#[cfg(test)]
mod eval_tests {
    use super::*;
    // #[test] fn commented_out() {}
    const TEXT: &str = "#[test] fn quoted() {}";

    #[test]
    fn plain() { assert_eq!("}", "}"); }

    #[test]
    #[should_panic(expected = "no")]
    pub fn panics() { panic!("no") }

    #[allow(dead_code)] #[test] #[ignore]
    pub(crate) async fn several() {}

    mod inner { #[test] fn deep() {} }

    fn helper() {}
    #[testing] fn not_one() {}
    #[test] fn after_the_inner_module() {}
}
"""


def test_finds_tests_with_the_modules_around_them() -> None:
    assert test_names(TESTS) == ["plain", "panics", "several", "deep", "after_the_inner_module"]
    assert test_paths(TESTS)[3:] == ["eval_tests::inner::deep", "eval_tests::after_the_inner_module"]


CARD = """
//! A card { with braces in its comment.
use crate::engine::Game;

pub const NAME: &str = "pub fn quoted() { }";

/// Doc. { }
#[inline]
pub fn attack<const N: usize, T: Into<u32>>(game: &mut Game, by: [u8; { 1 + 2 }], x: T) -> Grid<{ N }>
where
    T: Clone,
{
    let open = '{'; let text = "}"; /* } */ // }
    if game.ready { match x { _ => r#"}"# } } else { "" }
}

pub(crate) async fn visible() { 1 }
pub const unsafe extern "C" fn odd() { 2 }
fn private() { 3 }

impl Card for Fox {
    pub fn method(&self) -> u32 { 4 }
    fn other(&self) {}
}

trait Declared { pub fn nothing(&self) -> u32; }
"""


def test_blanks_the_bodies_of_public_functions_and_nothing_else() -> None:
    blanked = blank_bodies(CARD)
    assert blanked.count("todo!()") == 4
    assert "Grid<{ N }>\nwhere\n    T: Clone,\n{\n    todo!()\n}\n\npub(crate) async fn visible()" in blanked
    assert "fn private() { 3 }" in blanked
    assert "pub fn nothing(&self) -> u32;" in blanked
    assert blanked.startswith(CARD[: CARD.index("{\n    let open")])
    assert blanked.endswith(CARD[CARD.index("\n    fn other") :])


def test_blanks_the_functions_named() -> None:
    blanked = blank_bodies(CARD, {"method", "private", "missing"})
    assert blanked == CARD.replace("{ 4 }", "{\n    todo!()\n}")


def test_blanking_twice_is_blanking_once() -> None:
    assert blank_bodies(blank_bodies(CARD)) == blank_bodies(CARD)


@pytest.mark.parametrize("source", ["mod x;", "pub mod x ;", "mod x { }", "#[cfg(test)]\npub(crate) mod\nx\n;"])
def test_finds_a_module_declaration(source: str) -> None:
    assert module_declared(source, "x")


@pytest.mark.parametrize("source", ["// mod x;", '"mod x;"', "mod xy;", "mod y; x;", "mod x"])
def test_finds_no_module_declaration_where_there_is_none(source: str) -> None:
    assert not module_declared(source, "x")


PIECES = [
    *(
        "fn f",
        "pub fn g",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        "#[test]",
        "#![x]",
        "#",
        "!",
        "mod m",
        ";",
        ",",
        "->",
    ),
    *(
        '"',
        '\\"',
        "'",
        "'a",
        "'{'",
        "//",
        "\n",
        "/*",
        "*/",
        'r#"',
        '"#',
        'b"',
        "r#",
        "\\",
        "é",
        "\u2028",
        "\x00",
        "0x1",
        " ",
    ),
]


@pytest.mark.parametrize("seed", range(200))
def test_any_mix_is_scanned_without_gaps_and_failures(seed: int) -> None:
    mix = random.Random(seed)
    source = "".join(mix.choice(PIECES) for _ in range(mix.randrange(60)))
    found = tokens(source)
    assert "".join(source[token.start : token.end] for token in found) == source
    assert [token.start for token in found] == [0, *(token.end for token in found[:-1])][: len(found)]
    test_paths(source)
    module_declared(source, "m")
    list(rust.attributes(code(source)))
    assert blank_bodies(blank_bodies(source)) == blank_bodies(source)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_outside_of_bodies_stays(seed: int) -> None:
    """A file made of well-formed items: blanked, the items but for their bodies are the same."""
    mix = random.Random(seed)
    bodies = ["{ 1 }", "{ '}' }", '{ "}" }', "{ { } /* { */ }", "{ |x| { x } }", '{ r##"}"#"## }', "{ // }\n }"]
    heads = ["pub fn f()", "pub(super) fn g<T>(x: &'a T) -> [u8; { 2 }]", '/// }\n#[a = "{"]\npub fn h(c: char)']
    between = ["\n", "struct S { x: u8 }\n", "const C: char = '{';\n", "/* { */", "fn private() { 0 }\n"]
    items = [(mix.choice(between), mix.choice(heads), mix.choice(bodies)) for _ in range(mix.randrange(1, 12))]
    source = "".join(f"{gap}{head} {body}" for gap, head, body in items)
    assert blank_bodies(source) == "".join(f"{gap}{head} {{\n    todo!()\n}}" for gap, head, _ in items)
