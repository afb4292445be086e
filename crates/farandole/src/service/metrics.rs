//! The metrics of the process and its HTTP interface.

crate::ground::metric::declare! {
    /// Open to callers.
    CONNECTIONS: Gauge "farandole_http_connections" "connections" [];
    /// Closed on a caller: `slow` (a head too long in coming, or idle), `crowded` (for a new one, at `http.max_connections`),
    /// `refused` (no place at all).
    CONNECTIONS_CLOSED: Counter "farandole_http_connections_closed_total" "connections" ["why"];
    /// Requests answered.
    REQUESTS: Counter "farandole_http_requests_total" "requests" ["method", "route", "status"];
    /// From a request to its answer.
    REQUESTS_SECONDS: Histogram "farandole_http_requests_seconds" "seconds" ["route"];
    /// Requests turned away because too many were under way.
    REQUESTS_SHED: Counter "farandole_http_requests_shed_total" "requests" [];
    /// Panics anywhere in the process.
    PANICS: Counter "farandole_panics_total" "panics" [];
    /// Resident memory.
    PROCESS_RESIDENT_MEMORY_BYTES: Gauge "process_resident_memory_bytes" "bytes" [];
    /// Processor time used, user and system.
    PROCESS_CPU_SECONDS: Gauge "process_cpu_seconds_total" "seconds" [];
}
