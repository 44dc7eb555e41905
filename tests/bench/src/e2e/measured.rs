//! The figures of one run and their names.

/// The measurements of one run of one contestant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Certificates per second from the first to the last.
    pub(crate) rate: f64,
    /// Seconds from the start of the process to the first certificate.
    pub(crate) first: f64,
    /// Median latency in milliseconds: from the start of the process if drained, from approval if in flight.
    pub(crate) p50: f64,
    /// 99th percentile of the same latency.
    pub(crate) p99: f64,
    /// CPU seconds per 1 000 requests of the contestant's processes since their start.
    pub(crate) cpu: f64,
    /// CPU seconds per 1 000 requests of the API server in the same time.
    pub(crate) api_server: f64,
    /// CPU seconds per 1 000 requests of etcd in the same time.
    pub(crate) etcd: f64,
    /// CPU seconds per 1 000 requests of cert-manager's webhook in the same time.
    pub(crate) webhook: f64,
    /// Sum of the peak resident memory of the contestant's processes, in MB of 10⁶ octets.
    pub(crate) memory: f64,
    /// Status writes per request.
    pub(crate) statuses: f64,
    /// Events per request.
    pub(crate) events: f64,
}

/// One figure: its names, its unit and how it is read from [`Measured`].
pub(crate) struct Figure {
    /// The name in the report.
    pub(crate) name: &'static str,
    /// The head of its column.
    pub(crate) short: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
    pub(crate) of: fn(&Measured) -> f64,
}

const fn figure(
    name: &'static str,
    short: &'static str,
    unit: &'static str,
    decimals: usize,
    of: fn(&Measured) -> f64,
) -> Figure {
    Figure {
        name,
        short,
        unit,
        decimals,
        of,
    }
}

/// The rate, which is printed with its spread and its ratio.
pub(crate) const RATE: Figure = figure("rate", "rate", "requests/s", 1, |run| run.rate);

/// The other figures, in the order of the tables.
pub(crate) const FIGURES: [Figure; 10] = [
    figure("first certificate", "first", "s", 2, |run| run.first),
    figure("p50", "p50", "ms", 1, |run| run.p50),
    figure("p99", "p99", "ms", 1, |run| run.p99),
    figure("CPU per 1 000", "CPU", "s", 2, |run| run.cpu),
    figure("API server's CPU per 1 000", "API CPU", "s", 2, |run| {
        run.api_server
    }),
    figure("etcd's CPU per 1 000", "etcd", "s", 2, |run| run.etcd),
    figure("webhook's CPU per 1 000", "webhook", "s", 2, |run| {
        run.webhook
    }),
    figure("peak memory", "memory", "MB", 1, |run| run.memory),
    figure("status writes per request", "writes", "", 3, |run| {
        run.statuses
    }),
    figure("Events per request", "Events", "", 3, |run| run.events),
];
