//! Critical extensions of CA certificates.

use const_oid::db::rfc5280::ID_CE_CERTIFICATE_POLICIES;

use super::*;

const PRIVATE: &str = "1.3.6.1.4.1.32473.1";

/// Returns whether a chain is usable if its certificate at `place` has this extension.
fn is_usable(place: &str, kind: const_oid::ObjectIdentifier, critical: bool) -> bool {
    let build = |name: &str| {
        let authority = Authority::builder(name);
        match name == place {
            true => authority.extension(kind, critical, &[5, 0]),
            false => authority,
        }
    };
    let root = build("root").root();
    let intermediate = build("intermediate").under(&root);
    let issuing = build("issuing").under(&intermediate);
    let text = bundle(&[&issuing, &intermediate, &root]);
    IssuerChain::parse(text.as_bytes(), None).is_ok()
}

#[test]
fn an_unknown_critical_extension_below_the_root_makes_a_chain_unusable() {
    let private = const_oid::ObjectIdentifier::new_unwrap(PRIVATE);
    for (place, kind, critical, usable) in [
        ("issuing", private, true, false),
        ("intermediate", private, true, false),
        // An anchor is a name and a key (RFC 5280, section 6.1.1 (d)).
        ("root", private, true, true),
        ("issuing", private, false, true),
        ("issuing", ID_CE_CERTIFICATE_POLICIES, true, true),
    ] {
        assert_eq!(
            is_usable(place, kind, critical),
            usable,
            "{place} {kind} {critical}"
        );
    }
}
