//! Sessions from the first byte to the last, over a stream in memory.

mod contexts;
mod extended;
mod handshake;
mod hostile;
mod requests;
mod sparse;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::SessionError;
use super::testing::{Client, Ram, Reply, contexts, info, number, status_payload};
use crate::nbd::{Features, Limits};

const ACK: u32 = 1;
const UNSUPPORTED: u32 = 0x8000_0001;
const INVALID: u32 = 0x8000_0003;
const TLS_REQUIRED: u32 = 0x8000_0005;
const UNKNOWN: u32 = 0x8000_0006;
const SHUTDOWN: u32 = 0x8000_0007;
const TOO_BIG: u32 = 0x8000_0009;
const EXTENDED_REQUIRED: u32 = 0x8000_000a;

const FUA: u16 = 1;
const NO_HOLE: u16 = 2;
const DF: u16 = 4;
const REQ_ONE: u16 = 8;
const FAST_ZERO: u16 = 16;
const PAYLOAD_LEN: u16 = 32;

fn ram(size: usize) -> Arc<Ram> {
    Arc::new(Ram::new(size))
}

fn simple(cookie: u64, error: u32) -> Reply {
    Reply::Simple { cookie, error }
}
