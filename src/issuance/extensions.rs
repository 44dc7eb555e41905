//! The extensions of a certificate, in a stable order, each with the clause that requires it.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ID_AD_CA_ISSUERS, ID_AD_OCSP, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS,
        ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE,
        ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME,
        ID_CE_SUBJECT_KEY_IDENTIFIER, ID_PE_AUTHORITY_INFO_ACCESS, ID_QT_CPS,
    },
};
use der::{
    Any, Encode, Sequence,
    asn1::{Ia5String, Null, OctetString},
};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    CrlDistributionPoints, KeyUsage, SubjectKeyIdentifier,
    certpolicy::PolicyQualifierInfo,
    crl::dp::DistributionPoint,
    name::{DistributionPointName, GeneralName},
};

use super::{
    chain::IssuerCertificate,
    oid::Oid,
    profile::{CertificateParams, ExtensionRules, HttpUrl},
    raw::Extension,
};

pub(super) const CRITICAL: bool = true;
pub(super) const NOT_CRITICAL: bool = false;

/// noRevAvail (RFC 9608, section 2).
pub(super) const ID_CE_NO_REV_AVAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.56");

/// A certificate policy (RFC 5280, section 4.2.1.4), with an identifier of any size.
#[derive(Sequence)]
pub(super) struct PolicyInformation {
    pub(super) policy_identifier: Oid,
    #[asn1(optional = "true")]
    pub(super) policy_qualifiers: Option<Vec<PolicyQualifierInfo>>,
}

/// Builds the extensions of a certificate. `crl` is the URL of the CRL of its shard.
pub(super) fn write(
    params: &CertificateParams<'_>,
    issuing: &IssuerCertificate,
    crl: Option<&HttpUrl>,
) -> der::Result<Vec<Extension>> {
    let csr = params.csr();
    let rules = params.extensions();
    let authority = params.authority();
    let mut extensions = Vec::with_capacity(8);
    extensions.push(authority_key_id(&issuing.authority_key_id())?);
    // 4.2.1.2: MUST be present in CA certificates, SHOULD be present in others. RFC 7093, section 2, method 1.
    if rules.subject_key_id || authority.is_some() {
        extensions.push(extension(
            ID_CE_SUBJECT_KEY_IDENTIFIER,
            NOT_CRITICAL,
            &SubjectKeyIdentifier(OctetString::new(csr.public_key().key_identifier())?),
        )?);
    }
    // 4.2.1.3: SHOULD be critical; at least one bit must be set when present.
    if !params.key_usage().is_empty() {
        extensions.push(extension(
            ID_CE_KEY_USAGE,
            CRITICAL,
            &KeyUsage(params.key_usage()),
        )?);
    }
    // 4.2.1.9: critical in CA certificates. A leaf carries cA=FALSE, which DER leaves out, hence an empty SEQUENCE.
    // It is critical there too, as in certificates of cert-manager's CA issuer.
    extensions.push(extension(
        ID_CE_BASIC_CONSTRAINTS,
        CRITICAL,
        &BasicConstraints {
            ca: authority.is_some(),
            path_len_constraint: authority.and_then(|authority| authority.path_length()),
        },
    )?);
    // 4.2.1.12: at least one purpose when present. The issuer may choose whether it is critical; ours is not.
    if !params.extended_key_usage().is_empty() {
        extensions.push(extension(
            ID_CE_EXT_KEY_USAGE,
            NOT_CRITICAL,
            &params.extended_key_usage().to_vec(),
        )?);
    }
    // 4.2.1.6: MUST be critical if the subject is empty, SHOULD NOT be otherwise. Carries the bytes of the CSR.
    if let Some(names) = csr.subject_alt_names() {
        extensions.push(Extension {
            extn_id: Oid::of(ID_CE_SUBJECT_ALT_NAME),
            critical: params.subject().is_empty(),
            extn_value: OctetString::new(names.der())?,
        });
    }
    publication(rules, crl, &mut extensions)?;
    match authority {
        // 4.2.1.10: MUST be critical, only in CA certificates.
        Some(authority) => {
            if let Some(constraints) = authority.name_constraints()? {
                extensions.push(extension(ID_CE_NAME_CONSTRAINTS, CRITICAL, &constraints)?);
            }
        }
        // RFC 9608, section 2: non-critical, MUST NOT be in CA certificates.
        None if rules.no_rev_avail => {
            extensions.push(extension(ID_CE_NO_REV_AVAIL, NOT_CRITICAL, &Null)?);
        }
        None => {}
    }
    for oid in &rules.from_csr {
        extensions.extend(
            csr.asked()
                .others
                .iter()
                .find(|e| e.extn_id == *oid)
                .cloned(),
        );
    }
    Ok(extensions)
}

/// Adds the certificate policies and the URLs of CRLs, OCSP responders and CA certificates.
fn publication(
    rules: &ExtensionRules,
    crl: Option<&HttpUrl>,
    extensions: &mut Vec<Extension>,
) -> der::Result<()> {
    // 4.2.1.4: non-critical. The CPS pointer is an IA5String with a URI.
    if !rules.policies.is_empty() {
        let policies = rules
            .policies
            .iter()
            .map(|policy| {
                let qualifier = policy.cps.as_ref().map(cps).transpose()?;
                Ok(PolicyInformation {
                    policy_identifier: policy.oid.clone(),
                    policy_qualifiers: qualifier.map(|qualifier| vec![qualifier]),
                })
            })
            .collect::<der::Result<Vec<_>>>()?;
        extensions.push(extension(
            ID_CE_CERTIFICATE_POLICIES,
            NOT_CRITICAL,
            &policies,
        )?);
    }
    // 4.2.1.13: SHOULD be non-critical. All URLs of a distribution point hold the same CRL. So the profile's URLs share one, and
    // the CRL of the shard, of which the profile knows nothing, has its own.
    let points = [crl.map_or(&[][..], std::slice::from_ref), &rules.crl]
        .into_iter()
        .filter(|urls| !urls.is_empty())
        .map(distribution_point)
        .collect::<der::Result<Vec<_>>>()?;
    if !points.is_empty() {
        extensions.push(extension(
            ID_CE_CRL_DISTRIBUTION_POINTS,
            NOT_CRITICAL,
            &CrlDistributionPoints(points),
        )?);
    }
    // 4.2.2.1: MUST be non-critical.
    let access = [
        (ID_AD_OCSP, &rules.ocsp),
        (ID_AD_CA_ISSUERS, &rules.ca_issuers),
    ]
    .into_iter()
    .flat_map(|(method, urls)| urls.iter().map(move |url| (method, url)))
    .map(|(access_method, url)| {
        Ok(AccessDescription {
            access_method,
            access_location: uri(url)?,
        })
    })
    .collect::<der::Result<Vec<_>>>()?;
    if !access.is_empty() {
        extensions.push(extension(
            ID_PE_AUTHORITY_INFO_ACCESS,
            NOT_CRITICAL,
            &AuthorityInfoAccessSyntax(access),
        )?);
    }
    Ok(())
}

fn distribution_point(urls: &[HttpUrl]) -> der::Result<DistributionPoint> {
    let names = urls.iter().map(uri).collect::<der::Result<_>>()?;
    Ok(DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(names)),
        reasons: None,
        crl_issuer: None,
    })
}

/// Returns the extension that names the key of the issuing certificate by its identifier, in certificates and CRLs (RFC 5280, 4.2.1.1 and 5.2.1):
/// it MUST be present and non-critical, with the bytes of the issuer's own key identifier.
pub(super) fn authority_key_id(key_id: &[u8]) -> der::Result<Extension> {
    let identifier = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(key_id)?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, NOT_CRITICAL, &identifier)
}

pub(super) fn uri(url: &HttpUrl) -> der::Result<GeneralName> {
    Ia5String::new(url.as_str()).map(GeneralName::UniformResourceIdentifier)
}

fn cps(url: &HttpUrl) -> der::Result<PolicyQualifierInfo> {
    Ok(PolicyQualifierInfo {
        policy_qualifier_id: ID_QT_CPS,
        qualifier: Some(Any::encode_from(&Ia5String::new(url.as_str())?)?),
    })
}

pub(super) fn extension(
    oid: ObjectIdentifier,
    critical: bool,
    value: &impl Encode,
) -> der::Result<Extension> {
    Ok(Extension {
        extn_id: Oid::of(oid),
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}
