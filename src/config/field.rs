//! Checks of single values, whose errors name field and place.

use serde_saphyr::{Location, Spanned};

use super::error::{Problem, Wrong};

/// Checks one value. The error names its field and its place.
pub(super) fn checked<T, U>(
    field: &str,
    value: Spanned<T>,
    check: impl FnOnce(T) -> Result<U, Problem>,
) -> Result<U, Wrong> {
    check(value.value).map_err(|problem| Wrong::new(field, value.referenced, problem))
}

/// Checks one optional value, or uses the default.
pub(super) fn or_default<T, U>(
    field: &str,
    value: Option<Spanned<T>>,
    default: T,
    check: impl FnOnce(T) -> Result<U, Problem>,
) -> Result<U, Wrong> {
    let value = value.unwrap_or(Spanned {
        value: default,
        referenced: Location::UNKNOWN,
        defined: Location::UNKNOWN,
    });
    checked(field, value, check)
}
