//! The cards of Emberfall Marches, one file each.

// A card that is yet to be implemented takes arguments that it does not use.
#![allow(unused_variables)]

pub mod em_001_cinder_whelp;
pub mod em_002_cinder_drake;
pub mod em_003_flint_badger;
pub mod em_004_kiln_tortoise;
pub mod em_005_sparkjack;
pub mod em_006_ash_moth;
pub mod em_007_pyre_stag;
pub mod em_008_slag_colossus;
pub mod em_009_forge_herald;
