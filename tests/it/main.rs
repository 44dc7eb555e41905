//! Tests that need the whole checkout, the built programs, or programs of other projects.

// `cfg(test)` tells clippy that helpers of tests may panic like the tests themselves.
#[cfg(test)]
mod audit;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod certificate;
#[cfg(test)]
mod chart;
#[cfg(test)]
mod circles;
#[cfg(test)]
mod citations;
#[cfg(test)]
mod controller;
#[cfg(test)]
mod day;
#[cfg(test)]
mod desk;
#[cfg(test)]
mod dev;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod e2e;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod glossary;
#[cfg(test)]
mod help;
#[cfg(test)]
mod house_rules;
#[cfg(test)]
mod issuance;
#[cfg(test)]
mod key;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod linkage;
mod log_lines;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod ownership;
#[cfg(test)]
mod page;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod screens;
#[cfg(test)]
mod sign;
#[cfg(test)]
mod source;
#[cfg(test)]
mod token;
#[cfg(test)]
mod token_bench;
#[cfg(test)]
mod whole;
#[cfg(test)]
mod workflows;
