//! What the controller and cert-manager's approver may do, asked for by SubjectAccessReviews, which the API server does not store.

use anyhow::bail;
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};

use super::{
    check::{CheckId, CheckState},
    findings::Findings,
    rights::{CERT_MANAGER, Feature, RIGHTS, SIGNERS},
};
use crate::telemetry::ErrorChain;

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Account {
    /// Reads `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// The text has another form.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            Some(_) | None => bail!("{text:?} is no service account; give NAMESPACE/NAME"),
        }
    }

    pub(super) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    fn groups(&self) -> Vec<String> {
        vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", self.namespace),
            "system:authenticated".to_owned(),
        ]
    }
}

/// Asks the API server what accounts may do.
pub(super) struct Reviewer {
    client: Client,
    /// The user of this process. About itself, everybody may ask.
    own_user: Option<String>,
}

impl Reviewer {
    pub(super) async fn new(client: &Client) -> Self {
        let reviews = Api::<SelfSubjectReview>::all(client.clone());
        let asked = reviews
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await;
        let status = asked.ok().and_then(|review| review.status);
        Self {
            client: client.clone(),
            own_user: status.and_then(|status| status.user_info?.username),
        }
    }

    async fn may(&self, account: &Account, what: ResourceAttributes) -> kube::Result<bool> {
        let parameters = PostParams::default();
        if self.own_user.as_deref() == Some(&account.user()) {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(what),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let reviews = Api::<SelfSubjectAccessReview>::all(self.client.clone());
            let review = reviews.create(&parameters, &review).await?;
            return Ok(review.status.is_some_and(|status| status.allowed));
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(account.user()),
                groups: Some(account.groups()),
                resource_attributes: Some(what),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let review = reviews.create(&parameters, &review).await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }
}

/// Checks every right that the controller needs for these features. A finding about a missing right names it.
pub(super) async fn controller(
    findings: &mut Findings,
    reviewer: &Reviewer,
    account: &Account,
    features: &[Feature],
) {
    let id = CheckId::ControllerRights;
    if !findings.want(&[id]) {
        return;
    }
    let needed = RIGHTS
        .iter()
        .filter(|right| features.contains(&right.feature));
    let (mut asked, mut missing) = (0, 0);
    for right in needed {
        let no_name = [""];
        let names = match right.names {
            [] => &no_name[..],
            names => names,
        };
        for (name, verb) in names
            .iter()
            .flat_map(|name| right.verbs.iter().map(move |verb| (name, verb)))
        {
            let attributes = right.attributes(&account.namespace, name, verb);
            let allowed = match reviewer.may(account, attributes).await {
                Ok(allowed) => allowed,
                Err(why) => {
                    findings.skip(
                        &[id],
                        "",
                        format_args!("this user may not ask: {}", ErrorChain(&why)),
                    );
                    return;
                }
            };
            asked += 1;
            if !allowed {
                missing += 1;
                // The operator may not want it.
                let state = match right.feature == Feature::RevocationRenewals {
                    true => CheckState::Warn,
                    false => CheckState::Fail,
                };
                let message = format_args!(
                    "{} lacks it; it is needed {}",
                    account.user(),
                    right.what_for
                );
                findings.add(
                    id,
                    state,
                    &right.describe(&account.namespace, name, verb),
                    message,
                );
            }
        }
    }
    if missing == 0 {
        findings.add(
            id,
            CheckState::Ok,
            "",
            format_args!("{} has all {asked}", account.user()),
        );
    }
}

/// Checks that cert-manager's approver may approve requests for our signers, and warns if it or everybody may approve more.
pub(super) async fn approver(findings: &mut Findings, reviewer: &Reviewer, account: &Account) {
    let ids = [CheckId::ApproverRights, CheckId::BlanketApprover];
    if !findings.want(&ids) {
        return;
    }
    let mut allowed = Vec::new();
    // A right without a name is one for all signers.
    for name in SIGNERS.into_iter().chain([""]) {
        let attributes = ResourceAttributes {
            group: Some(CERT_MANAGER.to_owned()),
            resource: Some("signers".to_owned()),
            verb: Some("approve".to_owned()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..ResourceAttributes::default()
        };
        match reviewer.may(account, attributes).await {
            Ok(may) => allowed.push((name, may)),
            Err(why) => {
                findings.skip(
                    &ids,
                    "",
                    format_args!("this user may not ask: {}", ErrorChain(&why)),
                );
                return;
            }
        }
    }
    let lacks: Vec<_> = allowed
        .iter()
        .filter(|(name, may)| !name.is_empty() && !may)
        .collect();
    let user = account.user();
    match lacks.first() {
        None => findings.add(ids[0], CheckState::Ok, "", format_args!("{user} may approve")),
        Some((name, _)) => findings.add(
            ids[0],
            CheckState::Warn,
            "",
            format_args!("{user} may not approve requests for {name}: unless somebody else approves them, they wait for ever"),
        ),
    }
    match allowed.contains(&("", true)) {
        true => findings.add(
            ids[1],
            CheckState::Warn,
            "",
            format_args!("{user} may approve requests for every signer, those of others included"),
        ),
        false => findings.add(
            ids[1],
            CheckState::Ok,
            "",
            format_args!("{user} may approve for named signers only"),
        ),
    }
}
