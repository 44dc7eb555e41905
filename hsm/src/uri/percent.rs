//! Percent-encoding of attribute values: octets to text and back.

/// Returns whether a character needs no encoding (RFC 7512, section 2.3, `pk11-pchar`): unreserved characters, and
/// reserved ones without a meaning in an attribute.
fn stands_for_itself(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=&".contains(&octet)
}

/// Decodes a value. `None`: it has a character that must be encoded, or a `%` without two hexadecimal digits.
pub(super) fn decode(value: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        let octet = match octet {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            octet if stands_for_itself(octet) => octet,
            _ => return None,
        };
        octets.push(octet);
    }
    Some(octets)
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Encodes all octets except letters, digits and `-._~` as `%XX`, which every reader of such URIs understands.
pub(super) fn encode(octets: &[u8]) -> String {
    let mut value = String::with_capacity(octets.len() * 3);
    for octet in octets {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) {
            value.push(char::from(*octet));
        } else {
            value.push_str(&format!("%{octet:02X}"));
        }
    }
    value
}
