//! A PKCS#11 library for tests that passes every call on to another library, or fails by rules.
#![doc = ""]
#![doc = include_str!("../README.md")]

mod code;
mod counters;
mod devices;
mod directory;
mod entry;
mod faults;
mod function;
mod library;
mod rules;

pub use self::devices::{DEVICES, Device};
pub use self::{
    directory::Directory,
    faults::DIRECTORY,
    function::Function,
    library::MODULE,
    rules::{Rules, RulesError},
};
