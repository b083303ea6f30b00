//! The cards of Sunken Choir, one file each.

// A card that is yet to be implemented takes arguments that it does not use.
#![allow(unused_variables)]

pub mod sc_001_reed_piper;
pub mod sc_002_tide_almanac;
pub mod sc_003_brine_urchin;
