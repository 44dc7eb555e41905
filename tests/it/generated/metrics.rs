//! The page that lists every metric, generated from the registry.

use std::{collections::BTreeSet, env, fs, path::Path};

use pkcs11_issuer::metrics::Metrics;

const HEAD: &str = "\
# Metrics

<!-- Generated from the registry by `make generated`. -->

The controller serves these metrics on `/metrics` as OpenMetrics. Labels come from closed sets; `token` is a name in the
operator's configuration. Only the metrics of single issuers have names of objects as labels. They exist only with
`--issuer-metrics` (value `metrics.issuers`), for at most that many issuers.

A histogram has the samples `_bucket`, `_count` and `_sum`. Its buckets are classic ones: the library `prometheus-client` writes native
histograms only in Prometheus' protobuf format, which the controller does not serve.

The [alerts](../runbooks/README.md) and the dashboard of the chart are made from these metrics.

| metric | type | labels | meaning |
|---|---|---|---|
";

#[test]
fn the_generated_page_of_metrics_matches_the_registry() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/metrics.md");
    let metrics = Metrics::new("0", "0");
    let mut page = HEAD.to_owned();
    let mut names = BTreeSet::new();
    for metric in metrics.descriptions() {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind,
            labels.join(", "),
            metric.help
        ));
        assert!(names.insert(&metric.name), "{} twice", metric.name);
    }
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == page,
        "docs/reference/metrics.md differs from the registry: run `make generated`"
    );
}
