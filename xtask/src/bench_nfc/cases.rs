//! What is measured.

/// Reading or writing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Where the data comes from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The disk, opened as a file.
    Local,
    /// The disk at a simulator.
    Remote {
        transport: &'static str,
        compression: Option<&'static str>,
        /// Milliseconds by which every message of the server is late.
        latency: u32,
    },
    /// No disk: a server that encrypts.
    Encryption,
}

/// Some MiB in order, in requests of 1 MiB.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) direction: Direction,
    /// Requests in flight.
    pub(super) depth: u32,
    /// MiB.
    pub(super) count: u64,
}

/// Far away, and one at a time: so few requests are enough to measure.
const FEW: u64 = 64;
pub(super) const DEPTH: u32 = 16;
/// Milliseconds.
pub(super) const LATENCIES: [u32; 3] = [0, 1, 20];
pub(super) const FAR: u32 = 20;
pub(super) const TRANSPORTS: [&str; 2] = ["nbd", "nbdssl"];

impl Case {
    pub(super) fn local(direction: Direction, count: u64) -> Self {
        Self {
            kind: Kind::Local,
            direction,
            depth: DEPTH,
            count,
        }
    }

    pub(super) fn remote(
        direction: Direction,
        transport: &'static str,
        latency: u32,
        count: u64,
    ) -> Self {
        let compression = None;
        Self {
            kind: Kind::Remote {
                transport,
                compression,
                latency,
            },
            direction,
            depth: DEPTH,
            count,
        }
    }

    pub(super) fn encryption(count: u64) -> Self {
        Self {
            kind: Kind::Encryption,
            direction: Direction::Read,
            depth: DEPTH,
            count,
        }
    }

    fn one_at_a_time(self) -> Self {
        Self {
            depth: 1,
            count: self.count.min(FEW),
            ..self
        }
    }

    pub(super) fn name(&self) -> String {
        let (word, depth) = (self.direction.word(), self.depth);
        match &self.kind {
            Kind::Local => format!("{word} locally, depth {depth}"),
            Kind::Remote {
                transport,
                compression,
                latency,
            } => {
                let compression = compression
                    .map(|name| format!(" {name}"))
                    .unwrap_or_default();
                format!("{word} over {transport}{compression}, {latency} ms, depth {depth}")
            }
            Kind::Encryption => format!("TLS from memory, depth {depth}"),
        }
    }
}

/// Everything, for a disk of `size` MiB.
pub(super) fn all(size: u64) -> Vec<Case> {
    let mut cases = vec![Case::encryption(size)];
    for direction in [Direction::Read, Direction::Write] {
        cases.push(Case::local(direction, size));
        for transport in TRANSPORTS {
            for latency in LATENCIES {
                let case = Case::remote(direction, transport, latency, size);
                cases.extend([case.clone(), case.one_at_a_time()]);
            }
        }
        for compression in ["zlib", "fastlz", "skipz"] {
            cases.push(Case {
                kind: Kind::Remote {
                    transport: "nbdssl",
                    compression: Some(compression),
                    latency: 0,
                },
                ..Case::local(direction, size)
            });
        }
    }
    cases
}
