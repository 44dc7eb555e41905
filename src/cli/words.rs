//! Parts of certificates in words.

use const_oid::{ObjectIdentifier, db::DB};
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};

/// Returns a name with its type.
pub(in crate::cli) fn alternative(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(name) => format!("URI:{name}"),
        GeneralName::IPAddress(octets) => {
            match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
                (Ok(four), _) => format!("IP:{}", std::net::Ipv4Addr::from(four)),
                (_, Ok(sixteen)) => format!("IP:{}", std::net::Ipv6Addr::from(sixteen)),
                (Err(_), Err(_)) => format!("IP:{}", hex::encode(octets)),
            }
        }
        GeneralName::DirectoryName(name) => format!("directory:{name}"),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => format!("other:{name}"),
    }
}

/// Returns extended key usages as cert-manager names them, and the names of the others' OIDs.
pub(in crate::cli) fn purposes(usages: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usages.any, "any"),
        (usages.server_auth, "server auth"),
        (usages.client_auth, "client auth"),
        (usages.code_signing, "code signing"),
        (usages.email_protection, "email protection"),
        (usages.time_stamping, "timestamping"),
        (usages.ocsp_signing, "ocsp signing"),
    ];
    let known = known.into_iter().filter(|(has, _)| *has);
    let known = known.map(|(_, word)| word.to_owned());
    let other = usages.other.iter().map(|oid| oid_name(&oid.to_id_string()));
    known.chain(other).collect()
}

/// Returns the name of an OID, or its numbers.
pub(in crate::cli) fn oid_name(oid: &str) -> String {
    let known = oid.parse::<ObjectIdentifier>().ok();
    let known = known.and_then(|oid| DB.by_oid(&oid).map(str::to_owned));
    known.unwrap_or_else(|| oid.to_owned())
}

/// Returns the SHA-256, hexadecimal.
pub(in crate::cli) fn sha256(octets: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        octets,
    ))
}
