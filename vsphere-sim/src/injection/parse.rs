//! Injections as text: `NAME[=KEY:VALUE,...]`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Capability, FragmentFault, HeaderField, Injection, IoKind, OpenRefusal, Plan};

/// A text is no injection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("injection {text:?}: {problem}")]
pub struct InvalidInjection {
    text: String,
    problem: String,
}

/// The keys and values behind a name.
struct Arguments<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Arguments<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let pair = item.split_once(':');
            pairs.push(pair.ok_or_else(|| format!("{item:?} is not KEY:VALUE"))?);
        }
        Ok(Self(pairs))
    }

    /// Takes a value out.
    fn take(&mut self, key: &str) -> Option<&'a str> {
        let position = self.0.iter().position(|(known, _)| *known == key)?;
        Some(self.0.swap_remove(position).1)
    }

    fn text(&mut self, key: &str) -> Result<&'a str, String> {
        self.take(key)
            .ok_or_else(|| format!("{key}:... is missing"))
    }

    fn number<T: FromStr>(&mut self, key: &str) -> Result<T, String> {
        let text = self.text(key)?;
        text.parse()
            .map_err(|_| format!("{key}: {text:?} is not such a number"))
    }

    fn number_or<T: FromStr>(&mut self, key: &str, default: T) -> Result<T, String> {
        if self.has(key) {
            self.number(key)
        } else {
            Ok(default)
        }
    }

    fn millis(&mut self) -> Result<Duration, String> {
        self.number("ms").map(Duration::from_millis)
    }

    /// One of several words.
    fn choice<T: Clone>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<T, String> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text);
        chosen.map(|(_, value)| value.clone()).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            format!("{key}: {text:?} is not one of {}", words.join(", "))
        })
    }

    fn choice_or<T: Clone>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
        default: T,
    ) -> Result<T, String> {
        if self.has(key) {
            self.choice(key, choices)
        } else {
            Ok(default)
        }
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == key)
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        self.choice(key, &[("true", true), ("false", false)])
    }
}

fn injection(name: &str, arguments: &mut Arguments<'_>) -> Result<Injection, String> {
    Ok(match name {
        "wrong-password" => Injection::WrongPassword,
        "session-expired" => Injection::SessionExpired,
        "unknown-vm" => Injection::UnknownVm,
        "soap-fault" => Injection::SoapFault {
            method: arguments.take("method").unwrap_or_default().to_owned(),
            kind: arguments.text("type")?.to_owned(),
        },
        "http-error" => Injection::HttpError {
            status: arguments.number_or("status", 503)?,
        },
        "management-certificate" => Injection::ManagementCertificate,
        "ticket-thumbprint" => Injection::TicketThumbprint,
        "announced-sha256" => Injection::AnnouncedSha256,
        "second-certificate" => Injection::SecondCertificate,
        "ticket-refused" => Injection::TicketRefused {
            silent: arguments.choice_or("how", &[("line", false), ("close", true)], false)?,
        },
        "read-only-tickets" => Injection::ReadOnlyTickets,
        "greeting" => Injection::Greeting {
            without: arguments.choice(
                "without",
                &[
                    ("sha256", Capability::Sha256),
                    ("nfcssl", Capability::NfcSsl),
                ],
            )?,
        },
        "proxy-refused" => Injection::ProxyRefused,
        "classic-refused" => Injection::ClassicRefused {
            instead_of: arguments.choice("instead", &[("36", 36), ("51", 51), ("52", 52)])?,
            with_error: arguments.choice("with", &[("error", true), ("end", false)])?,
        },
        "probe-reply" => Injection::ProbeReply {
            late: arguments.flag("late")?,
        },
        "open-refused" => Injection::OpenRefused {
            reason: refusal(arguments)?,
        },
        "io-error" => Injection::IoError {
            on: arguments.choice("on", &[("read", IoKind::Read), ("write", IoKind::Write)])?,
            code: arguments.number_or("code", 13)?,
            text: arguments.take("text").unwrap_or("I/O error").to_owned(),
        },
        "out-of-memory" => Injection::OutOfMemory {
            above: arguments.number_or("above", 0)?,
        },
        "session-refused" => Injection::SessionRefused,
        "small-buffers" => Injection::SmallBuffers {
            limit: arguments.number_or("limit", 64 << 10)?,
        },
        "session-limit" => Injection::SessionLimit,
        "disconnect" => Injection::Disconnect {
            messages: arguments.number("messages")?,
        },
        "disconnect-in-read" => Injection::DisconnectInRead {
            bytes: arguments.number_or("bytes", 1000)?,
        },
        "truncated-frame" => Injection::TruncatedFrame,
        "bad-header" => Injection::BadHeader {
            field: arguments.choice(
                "field",
                &[
                    ("magic", HeaderField::Magic),
                    ("operation", HeaderField::Operation),
                    ("kind", HeaderField::Kind),
                ],
            )?,
        },
        "bad-fragment" => Injection::BadFragment {
            fault: arguments.choice(
                "fault",
                &[
                    ("overlap", FragmentFault::Overlap),
                    ("range", FragmentFault::OutOfRange),
                    ("empty", FragmentFault::Empty),
                    ("length", FragmentFault::Length),
                    ("data", FragmentFault::Data),
                ],
            )?,
        },
        "raw-skipz" => Injection::RawSkipZ,
        "uncompressed" => Injection::Uncompressed,
        "shuffle" => Injection::Shuffle,
        "delay" => Injection::Delay {
            time: arguments.millis()?,
        },
        "bandwidth" => Injection::Bandwidth {
            bytes: arguments.number("bytes")?,
        },
        "stall" => Injection::Stall {
            time: arguments.millis()?,
        },
        "error-reply" => Injection::ErrorReply {
            trailing: arguments.flag("trailing")?,
        },
        "host-switch" => Injection::HostSwitch {
            message: arguments.choice("how", &[("close", false), ("message", true)])?,
        },
        "maintenance" => Injection::Maintenance {
            entering: arguments.choice("state", &[("in", false), ("entering", true)])?,
        },
        "host-disconnected" => Injection::HostDisconnected,
        "delayed-write-reply" => Injection::DelayedWriteReply {
            writes: arguments.number_or("writes", 1)?,
        },
        "no-blocks" => Injection::NoBlocks,
        _ => return Err("there is none of this name".to_owned()),
    })
}

fn refusal(arguments: &mut Arguments<'_>) -> Result<OpenRefusal, String> {
    if arguments.has("reason") {
        return arguments.choice(
            "reason",
            &[
                ("locked", OpenRefusal::Locked),
                ("missing", OpenRefusal::Missing),
                ("permission", OpenRefusal::Permission),
                ("multiwriter", OpenRefusal::MultiWriter),
            ],
        );
    }
    Ok(OpenRefusal::Other {
        code: arguments.number("code")?,
        text: arguments.text("text")?.to_owned(),
    })
}

fn plan(text: &str) -> Result<Plan, String> {
    let (name, rest) = text.split_once('=').unwrap_or((text, ""));
    let mut arguments = Arguments::parse(rest)?;
    let after = arguments.number_or("after", 0)?;
    let times = match arguments.take("times") {
        None => None,
        Some(times) => Some(
            times
                .parse()
                .map_err(|_| format!("times: {times:?} is no number"))?,
        ),
    };
    let injection = injection(name, &mut arguments)?;
    if let Some((key, _)) = arguments.0.first() {
        return Err(format!("it has nothing called {key:?}"));
    }
    Ok(Plan {
        injection,
        after,
        times,
    })
}

impl FromStr for Plan {
    type Err = InvalidInjection;

    fn from_str(text: &str) -> Result<Self, InvalidInjection> {
        plan(text).map_err(|problem| InvalidInjection {
            text: text.to_owned(),
            problem,
        })
    }
}

/// The name, for lists.
impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each.
    const ALL: [&str; 42] = [
        "wrong-password",
        "session-expired",
        "unknown-vm",
        "soap-fault=method:NfcGetVmFiles,type:NoPermission",
        "http-error=status:401",
        "management-certificate",
        "ticket-thumbprint",
        "announced-sha256",
        "second-certificate",
        "ticket-refused=how:close",
        "read-only-tickets",
        "greeting=without:sha256",
        "greeting=without:nfcssl",
        "proxy-refused",
        "classic-refused=instead:51,with:error",
        "probe-reply=late:true",
        "open-refused=reason:locked",
        "open-refused=code:99,text:no way: really",
        "io-error=on:write,code:13,text:bad",
        "out-of-memory=above:65536",
        "session-refused",
        "small-buffers",
        "session-limit",
        "disconnect=messages:12",
        "disconnect-in-read=bytes:100",
        "truncated-frame",
        "bad-header=field:magic",
        "bad-header=field:kind",
        "bad-fragment=fault:overlap",
        "bad-fragment=fault:data",
        "raw-skipz",
        "uncompressed",
        "shuffle",
        "delay=ms:20",
        "bandwidth=bytes:1000000",
        "stall=ms:5000,times:1",
        "error-reply=trailing:false",
        "host-switch=how:message",
        "maintenance=state:entering",
        "host-disconnected",
        "delayed-write-reply=writes:3",
        "no-blocks",
    ];

    #[test]
    fn every_injection_has_a_text() {
        for text in ALL {
            let plan: Plan = text.parse().expect("it is valid");
            assert_eq!(text.split('=').next(), Some(plan.injection.name()));
        }
        let plan: Plan = "shuffle=after:2,times:5".parse().expect("it is valid");
        assert_eq!((plan.after, plan.times), (2, Some(5)));
    }

    #[test]
    fn a_wrong_text_says_what_is_wrong_with_it() {
        let cases = [
            ("shufle", "there is none"),
            ("delay", "ms:... is missing"),
            ("delay=ms:soon", "is not such a number"),
            ("delay=20", "is not KEY:VALUE"),
            ("shuffle=by:two", "nothing called \"by\""),
            ("bad-header=field:tail", "not one of magic, operation, kind"),
            ("shuffle=times:often", "no number"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Plan>().expect_err("it is wrong").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
