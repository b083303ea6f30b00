//! The cards of Sunken Choir, one file each.

// A card that is yet to be implemented takes arguments that it does not use.
#![allow(unused_variables)]

pub mod sc_001_reed_piper;
pub mod sc_002_tide_almanac;
pub mod sc_003_brine_urchin;
pub mod sc_004_lantern_eel;
pub mod sc_005_choir_mender;
pub mod sc_006_deep_warden;
pub mod sc_007_pearl_oracle;
pub mod sc_008_coral_leviathan;
pub mod sc_009_drowned_bell;
pub mod sc_010_echo_siren;
