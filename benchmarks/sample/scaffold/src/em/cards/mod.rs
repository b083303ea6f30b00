//! The cards of Emberfall Marches, one file each.

// A card that is yet to be implemented takes arguments that it does not use.
#![allow(unused_variables)]

pub mod em_001_cinder_whelp;
pub mod em_002_cinder_drake;
pub mod em_003_flint_badger;
