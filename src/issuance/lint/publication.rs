//! Lints on what a certificate says about policies and revocation.

use const_oid::db::rfc5280::{
    ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_PE_AUTHORITY_INFO_ACCESS,
};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, CrlDistributionPoints,
    name::{DistributionPointName, GeneralName},
};

use super::{Lint, ensure};
use crate::issuance::{
    crl::SerialNumber,
    extensions::{ID_CE_NO_REV_AVAIL, PolicyInformation},
};

fn is_http(name: &GeneralName) -> bool {
    match name {
        GeneralName::UniformResourceIdentifier(url) => url.as_str().starts_with("http://"),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DnsName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => false,
    }
}

pub(super) const LINTS: &[Lint] = &[
    Lint {
        name: "rfc5280_policies_distinct_and_not_critical",
        citation: "RFC 5280, section 4.2.1.4",
        check: |linted| {
            let found = linted.extension::<Vec<PolicyInformation>>(ID_CE_CERTIFICATE_POLICIES)?;
            let Some((critical, policies)) = found else {
                return Ok(());
            };
            let repeated = policies.iter().enumerate().any(|(index, policy)| {
                policies
                    .iter()
                    .skip(index + 1)
                    .any(|later| later.policy_identifier == policy.policy_identifier)
            });
            ensure(
                !critical && !repeated && !policies.is_empty(),
                "critical, empty, or a policy occurs twice",
            )
        },
    },
    Lint {
        name: "rfc5280_crl_distribution_points_http",
        citation: "RFC 5280, sections 4.2.1.13 and 8",
        check: |linted| {
            let found = linted.extension::<CrlDistributionPoints>(ID_CE_CRL_DISTRIBUTION_POINTS)?;
            let Some((critical, points)) = found else {
                return Ok(());
            };
            let fits = points
                .0
                .iter()
                .all(|point| match &point.distribution_point {
                    Some(DistributionPointName::FullName(names)) => {
                        !names.is_empty() && names.iter().all(is_http)
                    }
                    Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => false,
                });
            ensure(
                !critical && fits && !points.0.is_empty(),
                "critical, or a point that is not an http URL",
            )
        },
    },
    Lint {
        name: "rfc5280_crl_distribution_point_of_the_shard",
        citation: "RFC 5280, sections 4.2.1.13 and 5.2.5; the issuer's spec.crl.url",
        check: |linted| {
            let serial = SerialNumber::from_octets(linted.tbs.serial);
            let serial = serial.map_err(|error| error.to_string())?;
            let Some(url) = linted.issuer.crl_url(&serial) else {
                return Ok(());
            };
            let found = linted.extension::<CrlDistributionPoints>(ID_CE_CRL_DISTRIBUTION_POINTS)?;
            let points = found.map_or_else(Vec::new, |(_, points)| points.0);
            let names = match points.first().map(|point| &point.distribution_point) {
                Some(Some(DistributionPointName::FullName(names))) => names.as_slice(),
                Some(Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None) | None => &[],
            };
            ensure(
                matches!(names, [GeneralName::UniformResourceIdentifier(name)] if name.as_str() == url.as_str()),
                "the first distribution point is not the CRL of the certificate's shard",
            )
        },
    },
    Lint {
        name: "rfc5280_authority_information_access_http",
        citation: "RFC 5280, sections 4.2.2.1 and 8",
        check: |linted| {
            let found =
                linted.extension::<AuthorityInfoAccessSyntax>(ID_PE_AUTHORITY_INFO_ACCESS)?;
            let Some((critical, access)) = found else {
                return Ok(());
            };
            ensure(
                !critical
                    && !access.0.is_empty()
                    && access.0.iter().all(|a| is_http(&a.access_location)),
                "critical, empty, or not an http URL",
            )
        },
    },
    Lint {
        name: "rfc9608_no_rev_avail_is_null_and_not_critical",
        citation: "RFC 9608, section 2",
        check: |linted| match linted.tbs.extension(ID_CE_NO_REV_AVAIL) {
            Some(extension) => ensure(
                !extension.critical && extension.extn_value.as_bytes() == [5, 0],
                "critical, or not NULL",
            ),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc9608_no_rev_avail_without_revocation",
        citation: "RFC 9608, section 4",
        check: |linted| {
            let access =
                linted.extension::<AuthorityInfoAccessSyntax>(ID_PE_AUTHORITY_INFO_ACCESS)?;
            let ocsp = access.is_some_and(|(_, access)| {
                access
                    .0
                    .iter()
                    .any(|a| a.access_method == const_oid::db::rfc5280::ID_AD_OCSP)
            });
            let crl = linted
                .tbs
                .extension(ID_CE_CRL_DISTRIBUTION_POINTS)
                .is_some();
            ensure(
                linted.tbs.extension(ID_CE_NO_REV_AVAIL).is_none()
                    || !(ocsp || crl || linted.is_ca()?),
                "together with a CRL or OCSP address, or in a CA certificate",
            )
        },
    },
];
