//! Which ways to a disk are tried, and in which order.

use vixdisklib_sys::VixError;
use vsphere_nfc::Transport;

use crate::error::Failure;

/// What is tried unless the caller says otherwise. Not `nbd` too: a host, or somebody in between, that refuses encryption
/// would be given the data in clear text.
const USUAL: &str = "nbdssl";

/// The names that a caller gave, in its order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transports(String);

impl Transports {
    /// From a list with colons; none, or an empty one, stands for what is usual. The names are not checked here, just as
    /// VDDK does not.
    pub(super) fn new(list: Option<&str>) -> Self {
        let list = list.filter(|list| !list.is_empty());
        Self(list.unwrap_or(USUAL).to_owned())
    }

    /// Those that there are, and a reason for each that is left out.
    pub(super) fn sorted_out(&self) -> (Vec<Transport>, Vec<String>) {
        let mut usable = Vec::new();
        let mut refused = Vec::new();
        for name in self.0.split(':').filter(|name| !name.is_empty()) {
            match name {
                "nbdssl" => usable.push(Transport::NbdSsl),
                "nbd" => usable.push(Transport::Nbd),
                "file" => refused.push("file is for disks of this machine".to_owned()),
                "san" | "hotadd" => {
                    refused.push(format!("{name} is not implemented in this library"));
                }
                other => refused.push(format!("{other:?} is no transport")),
            }
        }
        (usable, refused)
    }

    /// The failure when none is left.
    pub(super) fn none_left(&self, refused: &[String]) -> Failure {
        Failure::new(
            VixError::NOT_SUPPORTED,
            format!(
                "no transport modes available of {:?}: {}; there are nbdssl and nbd",
                self.0,
                refused.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_callers() {
        let usable = |list| Transports::new(list).sorted_out().0;
        assert_eq!(usable(None), [Transport::NbdSsl]);
        assert_eq!(usable(Some("")), [Transport::NbdSsl]);
        assert_eq!(usable(Some("nbd")), [Transport::Nbd]);
        assert_eq!(
            usable(Some("san:nbd::hotadd:nbdssl:x")),
            [Transport::Nbd, Transport::NbdSsl]
        );
    }

    #[test]
    fn what_is_left_out_is_told() {
        let transports = Transports::new(Some("san:hotadd:file:fax"));
        let (usable, refused) = transports.sorted_out();
        assert_eq!((usable.len(), refused.len()), (0, 4));
        let failure = transports.none_left(&refused);
        assert_eq!(failure.code(), VixError::NOT_SUPPORTED);
        let shown = format!("{failure:?}");
        for word in ["san", "hotadd", "file", "fax", "no transport modes avail"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
    }
}
