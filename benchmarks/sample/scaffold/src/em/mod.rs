//! Emberfall Marches (`em`): volcanic borderlands, and those who live off the heat.

pub mod cards;
