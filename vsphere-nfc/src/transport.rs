//! How the bytes of a disk travel.

/// How the bytes of a disk travel from and to a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// In clear text. The ticket is encrypted all the same.
    Nbd,
    /// Encrypted.
    #[default]
    NbdSsl,
}

impl Transport {
    /// What VixDiskLib calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nbd => "nbd",
            Self::NbdSsl => "nbdssl",
        }
    }

    /// The service to ask for, given the one that a ticket names.
    pub(crate) fn service(self, of_ticket: &str) -> String {
        match self {
            Self::NbdSsl if !of_ticket.ends_with("ssl") => format!("{of_ticket}ssl"),
            _ => of_ticket.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_those_that_hosts_know() {
        for (transport, ticket, service) in [
            (Transport::Nbd, "vpxa-nfc", "vpxa-nfc"),
            (Transport::NbdSsl, "vpxa-nfc", "vpxa-nfcssl"),
            (Transport::Nbd, "nfc", "nfc"),
            (Transport::NbdSsl, "nfc", "nfcssl"),
            (Transport::NbdSsl, "nfcssl", "nfcssl"),
        ] {
            assert_eq!(transport.service(ticket), service);
        }
    }
}
