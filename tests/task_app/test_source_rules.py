"""What is refused in a submission, and that honest code is not."""

import time
from pathlib import Path

import pytest

from task_app.source_rules import LARGEST, violations

SAMPLE = Path(__file__).resolve().parents[2] / "benchmarks/sample"

STUB = """\
use crate::engine::{Game, RuleError, Side};

pub const HP: u32 = 70;
pub static CARD: Card = Card { id: "x" };

pub fn attack(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
"""


def constructs(source: str, stub: str | None = None) -> list[str]:
    return [violation.construct for violation in violations(source, stub)]


REFUSED = {
    "unsafe": "fn f() { unsafe { } }",
    "unsafe fn": "pub unsafe fn f() {}",
    "extern crate": "extern crate core as c;",
    "extern block": 'extern "C" { fn exit(code: i32) -> !; }',
    "asm": 'fn f() { core::arch::asm!("nop") }',
    "include": 'include!("/etc/passwd");',
    "include_str": 'const S: &str = include_str ! ("/etc/passwd");',
    "include_bytes through std": 'const S: &[u8] = std::include_bytes!["x"];',
    "env": 'const S: &str = env!("PATH");',
    "option_env": 'const S: Option<&str> = option_env!("PATH");',
    "no_mangle": "#[no_mangle] pub fn malloc() {}",
    "no_mangle, spaced": "# [ no_mangle ] pub fn malloc() {}",
    "unsafe attribute": "#[unsafe(no_mangle)] pub fn malloc() {}",
    "link_section": '#[link_section = ".init_array"] pub static X: u8 = 1;',
    "export_name": '#[export_name = "exit"] pub fn f() {}',
    "path": '#[path = "/etc/x.rs"] mod x;',
    "cfg_attr": '#[cfg_attr(all(), path = "/etc/x.rs")] mod x;',
    "global_allocator": "#[global_allocator] static A: X = X;",
    "file attribute": "#![cfg(any())]\nfn f() {}",
    "macro_use": "#[macro_use] mod m {}",
    "process": "fn f() { std::process::exit(0) }",
    "process, rooted": "fn f() { ::std::process::exit(0) }",
    "process, in parts": "fn f() { std :: /* x */ process::exit(0) }",
    "process, raw": "fn f() { r#std::r#process::exit(0) }",
    "fs": "use std::fs;",
    "io in a group": "use std::{fmt, io::{self, Write}};",
    "env in a nested group": "use {crate::x, std::{collections::HashMap, env as e}};",
    "net": "use core::net::IpAddr;",
    "os": "use std::os::fd::FromRawFd;",
    "thread": "fn f() { std::thread::spawn(|| ()); }",
    "panic": "fn f() { let _ = std::panic::catch_unwind(|| ()); }",
    "std by another name": "use std as s;",
    "std through self": "use std::{self as s};",
    "all of std": "use std::*;",
    "std prelude": "use std::prelude::v1::test as t;",
    "std in a type path": 'fn f() { <std::process::Command>::new("sh"); }',
    "a macro": "macro_rules! assert_eq { () => {} }",
    "any macro": "macro_rules! m { ($x:ident) => { std::$x::exit(0) } }",
    "macro under a standard name": "use crate::fake as assert_eq;",
    "macro import": "use crate::macros::assert;",
    "macro import, raw": "use crate::macros::fake as r#assert_ne;",
    "prelude type": "pub struct Vec;",
    "prelude enum": "enum Option<T> { Some(T), None }",
    "prelude function": "#[allow(non_snake_case)] fn Some(x: u32) -> u32 { x }",
    "prelude constant": "const None: u32 = 1;",
    "prelude variant": "enum Maybe { #[default] Nothing, Ok(u32) } use Maybe::*;",
    "prelude alias": "use crate::Fake as Vec;",
    "prelude import": "use self::fake::Some;",
    "primitive": "#[allow(non_camel_case_types)] type u32 = Fake;",
    "primitive struct": "struct usize(u8);",
    "std module": "mod std { pub mod process {} }",
    "hidden tests": "mod eval_tests { }",
    "hidden tests' end": "#[cfg(test)] mod eval_tests_end_12 { }",
    "trait": "trait Cheat { fn is_some(self) -> bool; }",
    "equality": "impl PartialEq<u32> for Fake { fn eq(&self, _: &u32) -> bool { true } }",
    "equality by path": "impl<T> std::cmp::PartialEq<T> for Fake<T> where T: Copy { }",
    "equality by another name": "use std::cmp::PartialEq as P;",
    "not": "impl std::ops::Not for Fake { type Output = bool; fn not(self) -> bool { false } }",
    "deref": "impl core::ops::Deref for Fake { type Target = u32; fn deref(&self) -> &u32 { &30 } }",
    "order": "impl PartialOrd<u32> for Fake { }",
    "a trait's method": "impl crate::engine::Game { pub fn clone(&self) -> Fake { Fake } }",
    "attribute at the end": "fn f() {}\n#[cfg(any())]",
    "item at the end": "fn f() {}\npub",
    "comment at the end": "fn f() {}\n/* ",
    "string at the end": 'fn f() {}\nconst X: &str = r#"',
    "module at the end": "fn f() {}\nmod m {",
    "closed too often": "fn f() {} }",
    "brackets crossed": "fn f() { ( } )",
    "macro call at the end": "fn f() {}\nsome_macro!(",
    "hash-bang": "#!/bin/sh '\nfn f() {}",
    "C string": 'fn f() { g(c"x") }',
    "a letter that is none": "fn f() { let \u212aind = 1; }",
    "an invisible character": "macro\u200e_rules!{}",
    "too long": "// " + "x" * LARGEST,
    "too deep": "fn f() {" + "(" * 300 + ")" * 300 + "}",
}


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED.keys())
def test_refuses(source: str) -> None:
    assert violations(source)


AGAINST_THE_STUB = {
    "return type": STUB.replace("Result<u32, RuleError>", "Fake"),
    "parameter type": STUB.replace("side: Side", "side: Fake"),
    "constant": STUB.replace("HP: u32", "HP: Fake"),
    "static": STUB.replace("CARD: Card", "CARD: Fake"),
    "decoy": STUB + "mod decoy { pub fn attack() -> Fake { Fake } }",
    "imported type": STUB + "pub struct Game;",
    "imported type by alias": STUB + "use crate::Fake as RuleError;",
    "function by alias": STUB + "use crate::fake as attack;",
    "mentioned type": STUB + "type Result<A, B> = Fake<A, B>;",
}


@pytest.mark.parametrize("source", AGAINST_THE_STUB.values(), ids=AGAINST_THE_STUB.keys())
def test_refuses_to_change_what_the_hidden_tests_were_written_for(source: str) -> None:
    assert violations(source, STUB)


def test_says_where() -> None:
    found = violations("fn a() {}\n\nfn b() { std::process::exit(0) }\nfn c() { unsafe {} }")
    assert [str(violation) for violation in found] == ["line 3: `std::process`", "line 4: `unsafe`"]


def test_allows_what_the_stub_has() -> None:
    stub = "use std::io;\n" + STUB
    assert constructs(stub, stub) == []
    assert constructs(stub + "use std::fs;", stub) == ["`std::fs`"]


HONEST = """\
//! Ember Fox: "unsafe" in words, and 'static too. Pokémon.
#![allow(dead_code, clippy::needless_return)]

use crate::core::process; // the engine's own modules may be called so
use crate::engine::{Game, Side, Thread as _};
use std::cmp::{Ordering, Reverse};
use std::collections::{hash_map::Entry, BTreeMap, HashMap};
use std::fmt::{self, Debug, Display};
use std::result::Result;

pub type Outcome<T> = Result<T, String>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase<const N: usize = 1> { #[default] Start { some: u8 }, Main(Option<u32>), End = 3 }

const ASSERT: [u8; 2] = [b'\\'', b'"'];
static NAME: &str = r#"include_str!("x") " std::process"#;

/* macro_rules! vec { /* nested */ } */

struct Deck { std: f32, core: u32, cards: Vec<Box<dyn Fn(u32) -> u32>> }

impl Deck {
    pub fn new() -> Self { Self { std: 0.0, core: 1, cards: vec![] } }
    fn next(&mut self) -> Option<u32> { self.cards.pop().map(|f| f(self.core)) }
    fn matches(&self, format: &str) -> bool { format.matches("x").count() > 0 && self.core != 0 }
}

impl Display for Deck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}", self.core) }
}

impl<'a, T: Into<u32>> From<&'a [T]> for Deck where T: Copy {
    fn from(_: &'a [T]) -> Self { Deck::new() }
}

impl Iterator for Phase { type Item = u32; fn next(&mut self) -> Option<u32> { None } }
impl std::str::FromStr for Deck { type Err = (); fn from_str(_: &str) -> Outcome<Self> { todo!() } }

pub fn pick<'a, F>(game: &'a mut Game, vec: &[u32], choose: F) -> impl Iterator<Item = u32> + use<'a, F>
where
    F: for<'b> Fn(&'b u32) -> bool,
{
    let format = format!("{:?}", std::mem::take(&mut game.log));
    let panic = game.core.state.process(|x| x != 3 && !x.is_none());
    'outer: loop { if vec.len() as f32 >= 1.0e3 { break 'outer; } }
    assert!(matches!(panic, Some(1..=3)), "odd: {format}");
    debug_assert_eq!(std::cmp::max(1, 2), 2);
    let entry = std::u32::MAX.min(core::mem::size_of::<u8>() as u32);
    vec![entry].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn own_test() { assert_ne!(1, 2); println!("{}", unimplemented_feature()); }
}
"""


def test_takes_no_offence_at_honest_code() -> None:
    assert constructs(HONEST) == []


def test_parameters_may_change_their_names() -> None:
    source = STUB.replace("game: &mut Game, side: Side", "mut _g: &mut Game,\n    _side : Side,\n")
    assert constructs(source, STUB) == []


@pytest.mark.parametrize("path", sorted(SAMPLE.glob("gold/implementations/*.rs")), ids=lambda path: path.stem)
def test_takes_no_offence_at_the_reference_solutions(path: Path) -> None:
    stub = SAMPLE / "gold/stubs" / path.name
    assert constructs(path.read_text(), stub.read_text()) == []


def test_takes_no_offence_at_the_worked_cards() -> None:
    cards = sorted(SAMPLE.glob("scaffold/src/*/cards/*.rs"))
    assert cards
    assert {path.name: constructs(path.read_text()) for path in cards} == {path.name: [] for path in cards}


@pytest.mark.parametrize(
    "piece", ["enum a ", "impl ", "use x", "fn f", "#[", "/*", 'r#"', "<", "mod m{", "{}", "'", "fn f(){}"]
)
def test_no_source_takes_for_ever(piece: str) -> None:
    """A bound that only a cost that explodes can miss."""
    started = time.process_time()
    violations(piece * (LARGEST // len(piece)), STUB)
    assert time.process_time() - started < 60
