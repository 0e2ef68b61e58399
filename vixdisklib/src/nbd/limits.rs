//! How much a client may ask of the server.

use std::time::Duration;

use super::features::Features;

/// Bounds on what clients may cost. The defaults suit a server on one machine; change single fields of
/// [`Limits::default`].
///
/// The public NBD protocol asks servers to accept payloads up to 32 MiB (2^25 bytes), strings up to 4096 bytes,
/// and lets them hang up on clients that behave abusively.
///
/// Memory is bounded for each connection and for all: clients that ask for much and take no answers can make the server
/// hold [`memory`](Limits::memory), until [`write_timeout`](Limits::write_timeout) or
/// [`payload_timeout`](Limits::payload_timeout) ends them; half of that for buffers
/// that connections keep for later; and for each connection about 100 KiB, 1 MiB if it is encrypted, and the stacks of its
/// threads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at one time. When one more comes, the one that has been negotiating for longest is closed; if all
    /// have chosen an export, the new one is. Default 100.
    pub connections: usize,
    /// The same for connections from one network address, so that one machine cannot take all places. Default: as many
    /// as [`connections`](Limits::connections) allows.
    pub connections_per_address: usize,
    /// Average time between connections that are let in, so that clients that come again and again cost the others little.
    /// As many as [`connections`](Limits::connections) may come at once before anybody has to wait. Zero lets all in at
    /// once. Default 4 ms, which is 250 in a second.
    pub connection_interval: Duration,
    /// Time from accepting a connection until its client has chosen an export. Default 10 s.
    pub handshake_timeout: Duration,
    /// Time for which a client may take nothing of what it is sent before it is cut off; none for ever. It costs only
    /// its own connection until then. Default 60 s.
    pub write_timeout: Option<Duration>,
    /// Time for the payload of one write to arrive, behind its header. Memory is set aside for it, which others may be
    /// waiting for. Raise it for clients that send long writes over slow lines; none for ever. Default 60 s.
    pub payload_timeout: Option<Duration>,
    /// Time for which a client may send nothing before it is cut off, also while it waits for an answer; none for ever.
    /// Not for clients on a pair of descriptors. Default none.
    pub idle_timeout: Option<Duration>,
    /// Time after which the machine of a silent TCP client is asked whether it is still there, in whole seconds up to
    /// 32767; it is given up after as long again without an answer. None leaves dead clients connected. Default 60 s.
    pub keepalive: Option<Duration>,
    /// Options one client may send before it chooses an export, on top of 4 for each export. Default 32.
    pub options: u32,
    /// Bytes of data of one option that are looked at. Longer ones are skipped and refused, up to 1 MiB; beyond
    /// that the server hangs up. Default 64 KiB.
    pub option_data: u32,
    /// Queries in one request for metadata contexts. Default 1024.
    pub context_queries: usize,
    /// Bytes in one read or write. Advertised to clients; longer reads are refused, longer writes are skipped and
    /// refused up to twice the limit, beyond that the server hangs up. From 512 bytes to 1 GiB. Default 32 MiB.
    pub payload: u32,
    /// Requests of one connection that run at the same time, each on its own thread. Default 16.
    pub threads: usize,
    /// Requests of one connection that were read but whose answers were not sent yet. Default 64.
    pub in_flight_requests: usize,
    /// Bytes of payload that these requests may hold in memory, per connection; at least
    /// [`payload`](Limits::payload). Default 64 MiB.
    pub in_flight_bytes: usize,
    /// The same for the requests of all connections; at least twice [`payload`](Limits::payload). Half of it is shared out
    /// evenly over [`connections`](Limits::connections), so that each can go on with smaller requests whatever the others
    /// do; the other half is for whoever comes first. Default 512 MiB.
    pub memory: usize,
    /// Extents in one block status reply, at most 2^20; the client asks again for the rest. The first answers have fewer, so
    /// that a client need not wait for all of them. Default 2^17.
    pub extents: usize,
    /// Time that a stopping server gives its clients to take the answers they are owed. Default 10 s.
    pub grace: Duration,
    /// How long a thread looks for the next request before it sleeps, if requests have been coming that fast; it costs
    /// processor time and makes clients with one request at a time several times faster. Zero: it sleeps at once. Default
    /// 50 µs.
    pub polling: Duration,
    /// Whether the bytes of a read-only export that lie in a file, in the system's cache, are sent from there over Unix
    /// sockets (`sendfile` of Linux) instead of being read and copied first. Faster for clients that receive at page
    /// boundaries; one that does not may be better off without, depending on its processor. Default true.
    pub send_files: bool,
    /// What clients may use of the protocol. Default all.
    pub features: Features,
}

impl Limits {
    /// The same, with what no message could describe brought down to what one can.
    pub(super) fn within_protocol(self) -> Self {
        let payload = self.payload.clamp(512, 1 << 30);
        let two_payloads = usize::try_from(payload).map_or(usize::MAX, |one| one.saturating_mul(2));
        Self {
            payload,
            memory: self.memory.max(two_payloads),
            extents: self.extents.clamp(1, 1 << 20),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100,
            connections_per_address: usize::MAX,
            connection_interval: Duration::from_millis(4),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Some(Duration::from_secs(60)),
            payload_timeout: Some(Duration::from_secs(60)),
            idle_timeout: None,
            keepalive: Some(Duration::from_secs(60)),
            options: 32,
            option_data: 64 << 10,
            context_queries: 1024,
            payload: 32 << 20,
            threads: 16,
            in_flight_requests: 64,
            in_flight_bytes: 64 << 20,
            memory: 512 << 20,
            extents: 1 << 17,
            grace: Duration::from_secs(10),
            polling: Duration::from_micros(50),
            send_files: true,
            features: Features::all(),
        }
    }
}
