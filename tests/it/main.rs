//! The tests that need the whole checkout, the built programs, or programs of others.

mod house_rules;
#[cfg(test)]
mod issuance;
mod layers;
mod linkage;
mod source;
