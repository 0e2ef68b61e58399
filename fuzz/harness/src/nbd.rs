//! Bytes of a hostile client, and what must hold of the answers.
//!
//! The first byte of an input sets the server up (`Setting`), the second says after how many bytes a packet ends (0 for
//! one packet), and the rest is what the client sends until it hangs up. The answers are read by a decoder of its own
//! (`check`), which follows what the client sent: each option is answered, each request that came whole is answered
//! exactly once and in the form that was negotiated, and reads return what was written.

mod check;
mod disk;
mod fields;
mod seeds;

use vixdisklib::nbd::{Features, Limits, fuzzing};

pub use seeds::seeds;

/// Small enough that inputs reach the limits.
pub(crate) const PAYLOAD: u32 = 16 << 10;
pub(crate) const EXTENTS: usize = 20;
pub(crate) const OPTIONS: u32 = 12;

/// How the server is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) read_only: bool,
    pub(crate) knows_zeroes: bool,
    pub(crate) tls: bool,
    /// Several threads work on requests, so that answers come in any order.
    pub(crate) parallel: bool,
    pub(crate) features: Features,
}

impl Setting {
    fn of(byte: u8) -> Self {
        let bit = |bit: u8| byte & (1 << bit) != 0;
        let mut features = Features::all();
        features.set(Features::EXTENDED_HEADERS, !bit(4));
        features.set(Features::WRITE_ZEROES, !bit(5));
        Self {
            read_only: bit(0),
            knows_zeroes: !bit(1),
            tls: bit(2),
            parallel: bit(3),
            features,
        }
    }
}

/// Serves the client that an input stands for, and panics if a claim does not hold.
pub fn run(input: &[u8]) {
    let [setting, packet, sent @ ..] = input else {
        return;
    };
    let setting = Setting::of(*setting);
    let length = match usize::from(*packet) {
        0 => sent.len().max(1),
        length => length,
    };
    let packets: Vec<Vec<u8>> = sent.chunks(length).map(<[u8]>::to_vec).collect();
    let mut limits = Limits::default();
    limits.payload = PAYLOAD;
    limits.extents = EXTENTS;
    limits.options = OPTIONS;
    limits.option_data = 4 << 10;
    limits.in_flight_requests = 4;
    limits.in_flight_bytes = 40 << 10;
    limits.threads = if setting.parallel { 3 } else { 1 };
    limits.features = setting.features;
    let disk = disk::Memory::new(setting);
    let answers = fuzzing::replay(packets, disk, limits, setting.tls);
    check::check(setting, sent, length, &answers);
}
