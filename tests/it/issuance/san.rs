//! Alternative names of test certificates, as the tables write them.

use rcgen::{OtherNameValue, SanType};

/// Returns the alternative name for a type and a text, such as `("DNS", "a.example")`.
pub(super) fn san(&(kind, value): &(&str, &str)) -> SanType {
    match kind {
        "DNS" => SanType::DnsName(value.try_into().unwrap()),
        "IP" => SanType::IpAddress(value.parse().unwrap()),
        "URI" => SanType::URI(value.try_into().unwrap()),
        "email" => SanType::Rfc822Name(value.try_into().unwrap()),
        "principal" => SanType::OtherName((
            vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
            OtherNameValue::Utf8String(value.to_owned()),
        )),
        other => panic!("unknown type of name {other}"),
    }
}
