//! The metrics of the process and its HTTP interface.

crate::ground::metric::declare! {
    /// Open HTTP connections.
    CONNECTIONS: Gauge "farandole_http_connections" "connections" [];
    /// Connections closed by the service: `slow` (the request head took too long, or idle), `crowded` (to make room, at
    /// `http.max_connections`), `refused` (no room at all).
    CONNECTIONS_CLOSED: Counter "farandole_http_connections_closed_total" "connections" ["why"];
    /// Requests answered.
    REQUESTS: Counter "farandole_http_requests_total" "requests" ["method", "route", "status"];
    /// Duration of a request.
    REQUESTS_SECONDS: Histogram "farandole_http_requests_seconds" "seconds" ["route"];
    /// Requests rejected because too many were in flight.
    REQUESTS_SHED: Counter "farandole_http_requests_shed_total" "requests" [];
    /// What a service counts so that a person sees it: look while it isn't 0.
    ALARMS: Gauge "farandole_alarm" "what it counts" ["alarm"];
    /// Panics anywhere in the process.
    PANICS: Counter "farandole_panics_total" "panics" [];
    /// Resident memory.
    PROCESS_RESIDENT_MEMORY_BYTES: Gauge "process_resident_memory_bytes" "bytes" [];
    /// CPU time used, user and system.
    PROCESS_CPU_SECONDS: Gauge "process_cpu_seconds_total" "seconds" [];
}
