//! Log lines about requests. Each names the request by the same fields, so that one search finds its whole story.

use std::borrow::Cow;

use kube::Resource;

/// Writes a log line at a level, about a request, with further fields and a message: `log_request!(info, request, "refused")`.
macro_rules! log_request {
    ($level:ident, $request:expr, $($rest:tt)+) => {
        tracing::$level!(
            kind = %$crate::reconcile::request::kind_of($request),
            request = %$crate::reconcile::request::full_name($request),
            uid = kube::Resource::meta($request).uid.as_deref().unwrap_or_default(),
            $($rest)+
        )
    };
}

pub(in crate::reconcile) use log_request;

/// Returns the kind of an object.
pub(in crate::reconcile) fn kind_of<K: Resource<DynamicType = ()>>(_: &K) -> Cow<'static, str> {
    K::kind(&())
}
