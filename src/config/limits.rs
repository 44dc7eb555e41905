//! Parses `limits` of a grant into the fence for its certificates.

use std::{fmt::Display, str::FromStr};

use serde_saphyr::Spanned;

use super::{
    error::{Problem, Wrong},
    grant::each,
    raw::{RawCa, RawLimits, RawNames},
};
use crate::{
    duration::GoDuration,
    issuance::{
        Limits,
        name::attribute_type,
        oid::Oid,
        pattern::ValuePattern,
        profile::{AllowedNames, CaLimits},
        usage::Usage,
    },
};

impl TryFrom<RawLimits> for Limits {
    type Error = Wrong;

    fn try_from(raw: RawLimits) -> Result<Self, Wrong> {
        let RawLimits {
            max_duration,
            names,
            subject,
            usages,
            ca: RawCa {
                allow,
                max_path_len,
            },
        } = raw;
        if let Some(duration) = max_duration
            .as_ref()
            .filter(|duration| !duration.value.is_positive())
        {
            return Err(Wrong::new(
                "maxDuration",
                duration.referenced,
                Problem::MaxDuration(duration.value),
            ));
        }
        Ok(Self {
            max_duration: max_duration.map(|duration| GoDuration::signed(duration.value)),
            names: names.map(AllowedNames::try_from).transpose()?,
            subject: subject
                .map(|attributes| attributes.into_iter().map(attribute).collect())
                .transpose()?,
            usages: usages.map(granted_usages).transpose()?,
            ca: CaLimits {
                allow,
                max_path_length: max_path_len,
            },
        })
    }
}

impl TryFrom<RawNames> for AllowedNames {
    type Error = Wrong;

    fn try_from(raw: RawNames) -> Result<Self, Wrong> {
        let RawNames {
            dns,
            ip,
            uri,
            email,
        } = raw;
        Ok(Self::closed(
            each("names.dns", dns, pattern)?,
            each("names.ip", ip, pattern)?,
            each("names.uri", uri, pattern)?,
            each("names.email", email, pattern)?,
        ))
    }
}

fn pattern<T: FromStr<Err: Display>>(text: String) -> Result<T, Problem> {
    text.parse()
        .map_err(|error: T::Err| Problem::Pattern(error.to_string()))
}

/// Parses the patterns for one attribute of subjects.
fn attribute(
    (kind, values): (String, Spanned<Vec<Spanned<String>>>),
) -> Result<(Oid, Vec<ValuePattern>), Wrong> {
    let field = format!("subject.{kind}");
    match attribute_type(&kind) {
        Some(kind) => Ok((kind, each(&field, values.value, pattern)?)),
        None => Err(Wrong::new(
            &field,
            values.referenced,
            Problem::Attribute(kind),
        )),
    }
}

/// Parses a list of usages, which must contain both key usages and extended key usages. A certificate states each kind in
/// its own extension, and a certificate without the extension may be used for anything.
fn granted_usages(list: Spanned<Vec<Spanned<String>>>) -> Result<Vec<Usage>, Wrong> {
    let usage = |word: String| match Usage::parse(&word) {
        Some(usage) => Ok(usage),
        None => word
            .parse()
            .map(Usage::Extended)
            .map_err(|_| Problem::Usage(word)),
    };
    let usages = each("usages", list.value, usage)?;
    let of_keys = usages.iter().any(|usage| matches!(usage, Usage::Key(_)));
    let purposes = usages
        .iter()
        .any(|usage| matches!(usage, Usage::Extended(_)));
    if of_keys && purposes {
        Ok(usages)
    } else {
        Err(Wrong::new("usages", list.referenced, Problem::HalfOfUsages))
    }
}
