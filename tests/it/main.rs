//! The tests that need the whole checkout or the built programs.

mod house_rules;
mod layers;
mod linkage;
mod source;
