//! A small, deterministic card-game engine and the cards of two expansions.
//!
//! Two players each lead a team of creatures: one *active*, up to five on the *bench*. Creatures carry energy,
//! attack, suffer conditions, evolve, and are knocked out. [`engine`] holds the rules; [`em`] (Emberfall Marches)
//! and [`sc`] (Sunken Choir) hold one file per card.
//!
//! A card is a `static` description (numbers and printed texts) plus one function per attack, ability or play
//! effect, which the description points to. Good files to start from:
//! `em::cards::em_001_cinder_whelp` (damage, a coin flip), `em::cards::em_002_cinder_drake` (evolution, lasting
//! effects), `sc::cards::sc_001_reed_piper` (abilities, prompts, the bench), `sc::cards::sc_002_tide_almanac` (an
//! ally card).

pub mod em;
pub mod engine;
pub mod sc;
