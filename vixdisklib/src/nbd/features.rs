//! What a server offers at all.

use bitflags::bitflags;

bitflags! {
    /// Parts of the protocol that clients may use. All are offered unless [`Limits::features`](super::Limits::features)
    /// says otherwise; a client that asks for one that is missing is told so and goes on without it, as with servers
    /// that are older than the part. For tests of clients, and for clients that a part does no good.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Features: u32 {
        /// Structured replies: errors with text, reads with holes, and block status.
        const STRUCTURED_REPLIES = 1 << 0;
        /// Extended headers: all that structured replies bring, and lengths of 64 bits.
        const EXTENDED_HEADERS = 1 << 1;
        /// Metadata contexts, and with them block status.
        const CONTEXTS = 1 << 2;
        /// The promise that parallel connections see each other's writes (`CAN_MULTI_CONN`).
        const MULTI_CONN = 1 << 3;
        /// Writing zeroes without sending them.
        const WRITE_ZEROES = 1 << 4;
    }
}

impl Default for Features {
    fn default() -> Self {
        Self::all()
    }
}
