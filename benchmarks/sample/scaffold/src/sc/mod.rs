//! Sunken Choir (`sc`): a drowned city whose bells still ring.

pub mod cards;
