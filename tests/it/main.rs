//! Integration tests.

mod issuance;
