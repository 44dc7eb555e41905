//! Every way in which a certificate may be named, and every way around the rules.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SigningKey as _,
};
use serde_json::json;

use super::*;
use crate::{api::GROUP, issuance::IssuerChain};

/// A CA, a tenant and a victim with a certificate each, and a stranger's CA of the same name.
struct World {
    ours: IssuerChain,
    strangers: IssuerChain,
    tenant: Leaf,
    victim: Leaf,
    /// A certificate for the tenant's key by the stranger's CA.
    foreign: Leaf,
}

struct Leaf {
    key: KeyPair,
    pem: String,
    csr: String,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(name: &str, key: KeyPair, ca: &CertifiedIssuer<'_, KeyPair>) -> Leaf {
    let params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    Leaf {
        pem: params.signed_by(&key, ca).unwrap().pem(),
        csr: params.serialize_request(&key).unwrap().pem().unwrap(),
        key,
    }
}

fn chain(ca: &CertifiedIssuer<'_, KeyPair>) -> IssuerChain {
    IssuerChain::parse(ca.pem().as_bytes(), None).unwrap()
}

impl World {
    fn new() -> Self {
        let (ours, strangers) = (authority(), authority());
        let key = KeyPair::generate().unwrap();
        let same = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        Self {
            tenant: leaf("tenant", key, &ours),
            victim: leaf("victim", KeyPair::generate().unwrap(), &ours),
            foreign: leaf("tenant", same, &strangers),
            ours: chain(&ours),
            strangers: chain(&strangers),
        }
    }

    fn claimed(
        &self,
        named: NamedCertificate<'_>,
        reach: Reach,
    ) -> Result<ClaimedCertificate, AcceptedReason> {
        let claimed = claimed(named, &issuer(), reach, &[self.ours.issuing()]);
        claimed.map_err(|objection| {
            assert!(objection.message.len() > 20, "{objection:?}");
            objection.reason
        })
    }

    /// Returns how a certificate may be revoked, and checks that it is that of this leaf.
    fn way(
        &self,
        named: NamedCertificate<'_>,
        reach: Reach,
        leaf: &Leaf,
    ) -> Result<Way, AcceptedReason> {
        let claimed = self.claimed(named, reach)?;
        let expected = ClaimedCertificate {
            ca: CaId::of(self.ours.issuing()),
            serial: *leaf.certificate().serial(),
            not_after: leaf.certificate().not_after(),
            way: claimed.way,
        };
        assert_eq!(claimed, expected);
        Ok(claimed.way)
    }
}

impl Leaf {
    fn certificate(&self) -> PresentedCertificate {
        PresentedCertificate::parse_pem(self.pem.as_bytes()).unwrap()
    }

    /// Returns the proof that the key of this leaf makes for the certificate of another one.
    fn proof_for(&self, other: &Self) -> String {
        let message = other.certificate().possession_message();
        STANDARD.encode(self.key.sign(&message).unwrap())
    }
}

fn issuer() -> IssuerName {
    IssuerName {
        namespace: None,
        name: "issuing".to_owned(),
    }
}

/// Returns a request with this CSR and this certificate in its status, to the issuer of this kind and name.
fn request(csr: &str, certificate: &str, kind: &str, name: &str) -> CertificateRequest {
    let encode = |text: &str| STANDARD.encode(text.as_bytes());
    serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {"namespace": "shop", "name": "web-1"},
        "spec": {
            "request": encode(csr),
            "issuerRef": {"group": GROUP, "kind": kind, "name": name},
        },
        "status": {"certificate": encode(certificate)},
    }))
    .unwrap()
}

fn ours(csr: &str, certificate: &str) -> CertificateRequest {
    request(csr, certificate, "PKCS11ClusterIssuer", "issuing")
}

fn named(found: Option<&CertificateRequest>) -> NamedCertificate<'_> {
    NamedCertificate::Request {
        name: "web-1",
        found,
    }
}

#[test]
fn a_tenant_revokes_what_its_request_got_whatever_it_may_revoke_besides() {
    let world = World::new();
    let answered = ours(&world.tenant.csr, &world.tenant.pem);
    for reach in [Reach::Held, Reach::Any] {
        let way = world.way(named(Some(&answered)), reach, &world.tenant);
        assert_eq!(way, Ok(Way::Request));
    }
    // The status has the chain after the certificate.
    let chain = world.tenant.pem.clone() + &world.ours.issuing().pem();
    let with_chain = ours(&world.tenant.csr, &chain);
    let way = world.way(named(Some(&with_chain)), Reach::Held, &world.tenant);
    assert_eq!(way, Ok(Way::Request));
}

#[test]
fn no_forged_request_revokes_the_certificate_of_somebody_else() {
    use AcceptedReason::*;
    let world = World::new();
    let World {
        tenant,
        victim,
        foreign,
        ..
    } = &world;
    let bad_csr = tenant.csr.replacen("MII", "MIJ", 1);
    let rows = [
        // A request of another namespace is not found here.
        (None, RequestNotFound),
        // A copy of the victim's certificate in the status of the tenant's request.
        (Some(ours(&tenant.csr, &victim.pem)), KeyMismatch),
        // A certificate for the right key that another CA of the same name issued.
        (Some(ours(&tenant.csr, &foreign.pem)), NotOurs),
        // A request to another issuer.
        (
            Some(request(
                &tenant.csr,
                &tenant.pem,
                "PKCS11ClusterIssuer",
                "other",
            )),
            RequestOfOtherIssuer,
        ),
        (
            Some(request(&tenant.csr, &tenant.pem, "PKCS11Issuer", "issuing")),
            RequestOfOtherIssuer,
        ),
        (
            Some(request(&tenant.csr, &tenant.pem, "Issuer", "issuing")),
            RequestOfOtherIssuer,
        ),
        (Some(ours(&tenant.csr, "")), NotIssued),
        (
            Some(ours(&tenant.csr, "no certificate")),
            CertificateInvalid,
        ),
        (Some(ours(&bad_csr, &tenant.pem)), KeyMismatch),
        (Some(ours("", &victim.pem)), KeyMismatch),
    ];
    for (request, expected) in &rows {
        for reach in [Reach::Held, Reach::Any] {
            let found = world.claimed(named(request.as_ref()), reach);
            assert_eq!(found, Err(*expected), "{request:?}");
        }
    }
}

#[test]
fn a_certificate_counts_only_with_a_proof_of_its_own_key_for_itself() {
    use AcceptedReason::*;
    let world = World::new();
    let World {
        tenant,
        victim,
        foreign,
        ..
    } = &world;
    let own = tenant.proof_for(tenant);
    let rows = [
        (tenant, Some(own.clone()), Ok(Way::Proof)),
        (tenant, None, Err(ProofMissing)),
        (victim, None, Err(ProofMissing)),
        // The tenant's key for the victim's certificate.
        (victim, Some(tenant.proof_for(victim)), Err(ProofWrong)),
        // The tenant's proof for its own certificate, replayed for the victim's.
        (victim, Some(own.clone()), Err(ProofWrong)),
        // The victim's proof for another certificate.
        (victim, Some(victim.proof_for(tenant)), Err(ProofWrong)),
        // The same key, but another certificate.
        (foreign, Some(own.clone()), Err(ProofWrong)),
        (foreign, Some(foreign.proof_for(foreign)), Err(NotOurs)),
        (tenant, Some("*".to_owned()), Err(ProofWrong)),
        (tenant, Some(String::new()), Err(ProofWrong)),
    ];
    for (leaf, proof, expected) in rows {
        let named = NamedCertificate::Certificate {
            pem: &leaf.pem,
            proof: proof.as_deref(),
        };
        assert_eq!(world.way(named, Reach::Held, leaf), expected, "{proof:?}");
    }
}

#[test]
fn where_any_certificate_may_be_revoked_the_certificate_alone_is_enough_and_a_wrong_proof_is_not() {
    use AcceptedReason::*;
    let world = World::new();
    let World {
        victim,
        foreign,
        tenant,
        ..
    } = &world;
    let by = |leaf: &Leaf, proof: Option<&str>| {
        let pem = &leaf.pem;
        world.way(
            NamedCertificate::Certificate { pem, proof },
            Reach::Any,
            leaf,
        )
    };
    assert_eq!(by(victim, None), Ok(Way::Certificate));
    assert_eq!(by(foreign, None), Err(NotOurs));
    let wrong = tenant.proof_for(victim);
    assert_eq!(by(victim, Some(&wrong)), Err(ProofWrong));
    let strangers = claimed(
        NamedCertificate::Certificate {
            pem: &victim.pem,
            proof: None,
        },
        &issuer(),
        Reach::Any,
        &[world.strangers.issuing()],
    );
    assert_eq!(
        strangers.map_err(|objection| objection.reason),
        Err(NotOurs)
    );
}

#[test]
fn a_serial_number_is_enough_only_where_any_certificate_may_be_revoked() {
    use AcceptedReason::*;
    let world = World::new();
    let serial = world.victim.certificate().serial().to_string();
    let by = |text: &str, reach| world.claimed(NamedCertificate::Serial(text), reach);
    assert_eq!(by(&serial, Reach::Held), Err(SerialNotAllowed));
    let expected = ClaimedCertificate {
        ca: CaId::of(world.ours.issuing()),
        serial: *world.victim.certificate().serial(),
        not_after: world.ours.issuing().not_after(),
        way: Way::Serial,
    };
    for text in [serial.clone(), serial.to_uppercase(), format!("00{serial}")] {
        assert_eq!(by(&text, Reach::Any), Ok(expected.clone()), "{text}");
    }
    for text in ["0", "", "xyz", &"7".repeat(42)] {
        assert_eq!(by(text, Reach::Any), Err(SerialInvalid), "{text}");
    }
    let none = claimed(NamedCertificate::Serial("01"), &issuer(), Reach::Any, &[]);
    assert_eq!(none.map_err(|objection| objection.reason), Err(NotOurs));
}

#[test]
fn after_a_rollover_the_certificates_of_the_old_ca_belong_to_its_own_crl() {
    let world = World::new();
    let both = [world.strangers.issuing(), world.ours.issuing()];
    let pem = &world.victim.pem;
    let old = claimed(
        NamedCertificate::Certificate { pem, proof: None },
        &issuer(),
        Reach::Any,
        &both,
    );
    assert_eq!(old.unwrap().ca, CaId::of(world.ours.issuing()));
    let new = claimed(NamedCertificate::Serial("01"), &issuer(), Reach::Any, &both);
    assert_eq!(new.unwrap().ca, CaId::of(world.strangers.issuing()));
}

#[test]
fn a_specification_that_names_two_certificates_or_none_names_none() {
    let spec = |parts: serde_json::Value| -> RevocationSpec {
        let mut spec = json!({
            "issuerRef": {"kind": "PKCS11ClusterIssuer", "name": "issuing"},
            "reason": "KeyCompromise",
        });
        for (field, value) in parts.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    };
    assert!(NamedCertificate::by(&spec(json!({})), None).is_none());
    let two = spec(json!({"certificate": "x", "serialNumber": "01"}));
    assert!(NamedCertificate::by(&two, None).is_none());
    let one = spec(json!({"certificate": "x", "proof": "y"}));
    assert!(matches!(
        NamedCertificate::by(&one, None),
        Some(NamedCertificate::Certificate {
            pem: "x",
            proof: Some("y")
        })
    ));
}
