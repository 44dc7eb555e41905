//! Log lines about requests. Each names the request by the same fields, so that one search finds its whole story.

use std::borrow::Cow;

use kube::Resource;

/// Writes a log line at a level, about a request, with further fields and a message: `log_request!(info, request, "refused")`.
/// `log_request!(seldom warn, text, request, …)` is for failures that may happen to many requests.
macro_rules! log_request {
    (seldom $level:ident, $text:expr, $request:expr, $($rest:tt)+) => {
        $crate::telemetry::log_seldom!(
            $level,
            $text,
            kind = %$crate::reconcile::request::kind_of($request),
            request = %$crate::reconcile::request::full_name($request),
            uid = kube::Resource::meta($request).uid.as_deref().unwrap_or_default(),
            $($rest)+
        )
    };
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
