//! Counters as text that monitoring programs read.
//!
//! Source: "OpenMetrics", version 1.0.0, which Prometheus and others take. Names end in what is counted or in the unit,
//! which is the byte; every export is a label.

use std::fmt::Write as _;

use super::counters::Counters;
use super::session::Shared;

/// One family of numbers.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: fn(&Counters) -> u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows.
    Counter,
    Gauge,
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "connections",
        help: "Connections accepted; for an export, those that chose it.",
        kind: Kind::Counter,
        value: |counters| counters.connections,
    },
    Family {
        name: "connections_open",
        help: "Connections open now.",
        kind: Kind::Gauge,
        value: |counters| counters.connections_open,
    },
    Family {
        name: "requests",
        help: "Requests read from clients.",
        kind: Kind::Counter,
        value: |counters| counters.requests,
    },
    Family {
        name: "request_errors",
        help: "Requests answered with an error.",
        kind: Kind::Counter,
        value: |counters| counters.errors,
    },
    Family {
        name: "read_bytes",
        help: "Bytes read for clients.",
        kind: Kind::Counter,
        value: |counters| counters.bytes_read,
    },
    Family {
        name: "written_bytes",
        help: "Bytes written for clients, without zeroes and trims.",
        kind: Kind::Counter,
        value: |counters| counters.bytes_written,
    },
];

/// All that is known about the server and about the exports that are open now.
pub(super) fn text(shared: &Shared) -> String {
    let exports: Vec<_> = shared
        .exports
        .all_open()
        .iter()
        .map(|entry| {
            (
                label(&entry.name),
                entry.counters.snapshot(),
                entry.export.size(),
            )
        })
        .collect();
    let total = shared.counters.snapshot();
    let mut out = String::new();
    for family in &FAMILIES {
        begin(&mut out, "nbd_", family);
        sample(&mut out, "nbd_", family, "", (family.value)(&total));
    }
    for family in &FAMILIES {
        begin(&mut out, "nbd_export_", family);
        for (label, counters, _) in &exports {
            sample(
                &mut out,
                "nbd_export_",
                family,
                label,
                (family.value)(counters),
            );
        }
    }
    let size = Family {
        name: "size_bytes",
        help: "The size of the export.",
        kind: Kind::Gauge,
        value: |_| 0,
    };
    begin(&mut out, "nbd_export_", &size);
    for (label, _, bytes) in &exports {
        sample(&mut out, "nbd_export_", &size, label, bytes.get());
    }
    out.push_str("# EOF\n");
    out
}

fn begin(out: &mut String, prefix: &str, family: &Family) {
    let name = family.name;
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    put(out, format_args!("# TYPE {prefix}{name} {kind}\n"));
    if name.ends_with("_bytes") {
        put(out, format_args!("# UNIT {prefix}{name} bytes\n"));
    }
    put(out, format_args!("# HELP {prefix}{name} {}\n", family.help));
}

fn sample(out: &mut String, prefix: &str, family: &Family, label: &str, value: u64) {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
    };
    put(
        out,
        format_args!("{prefix}{}{suffix}{label} {value}\n", family.name),
    );
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to a string cannot fail");
}

/// The name of an export as the format wants it quoted.
fn label(export: &str) -> String {
    let quoted = export
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{{export=\"{quoted}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_exports_cannot_break_the_text() {
        assert_eq!(label("disk"), "{export=\"disk\"}");
        assert_eq!(
            label("a\"} 1\nnbd_connections_total 5\\"),
            "{export=\"a\\\"} 1\\nnbd_connections_total 5\\\\\"}"
        );
    }
}
