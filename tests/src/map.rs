//! Maps of holes and data: what our programs and QEMU say of a disk, in one form.

use serde_json::Value;

/// A run of bytes that is a hole throughout, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// Whether it is a hole, which reads as zero.
    pub hole: bool,
}

impl Run {
    /// The byte behind the run.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// Joins neighbours that are alike.
#[must_use]
pub fn merged(runs: &[Run]) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::new();
    for run in runs {
        match merged.last_mut() {
            Some(last) if last.hole == run.hole && last.end() == run.offset => {
                last.length += run.length;
            }
            _ => merged.push(*run),
        }
    }
    merged
}

/// Panics unless the runs cover `capacity` bytes from 0 on without gap or overlap, none of them empty.
pub fn assert_covers(runs: &[Run], capacity: u64) {
    let mut end = 0;
    for run in runs {
        assert_eq!(run.offset, end, "gap or overlap in {runs:?}");
        assert_ne!(run.length, 0, "an empty run in {runs:?}");
        end = run.end();
    }
    assert_eq!(end, capacity, "the runs end elsewhere than the disk");
}

/// The map of whole chunks: a chunk is a hole if and only if all of it is one.
#[must_use]
pub fn in_chunks(runs: &[Run], chunk: u64) -> Vec<Run> {
    let capacity = runs.last().map_or(0, Run::end);
    let mut chunks = Vec::new();
    let mut offset = 0;
    for run in merged(runs) {
        let (start, end) = if run.hole {
            // Only whole chunks; the last one may be cut by the end of the disk.
            let end = if run.end() == capacity {
                capacity
            } else {
                run.end() / chunk * chunk
            };
            (run.offset.next_multiple_of(chunk), end)
        } else {
            continue;
        };
        if start < end {
            push(&mut chunks, &mut offset, start, false);
            push(&mut chunks, &mut offset, end, true);
        }
    }
    push(&mut chunks, &mut offset, capacity, false);
    chunks
}

fn push(runs: &mut Vec<Run>, offset: &mut u64, end: u64, hole: bool) {
    if *offset < end {
        runs.push(Run {
            offset: *offset,
            length: end - *offset,
            hole,
        });
        *offset = end;
    }
}

/// What `qemu-img map --output=json` printed; a run is a hole where `zero` is true.
#[must_use]
pub fn of_qemu(json: &str) -> Vec<Run> {
    runs(&parse(json), "start", |run| run["zero"].as_bool())
}

/// What `nbdinfo --map --json` printed; a run is a hole where `base:allocation` says that it reads as zero.
#[must_use]
pub fn of_nbdinfo(json: &str) -> Vec<Run> {
    runs(&parse(json), "offset", |run| {
        run["type"].as_u64().map(|flags| flags & 2 != 0)
    })
}

/// What `dump_extents --json` printed: the capacity and the chunk in bytes, and the runs.
#[must_use]
pub fn of_dump(json: &str) -> (u64, u64, Vec<Run>) {
    let dump = parse(json);
    let number = |key: &str| dump[key].as_u64().expect("a number of bytes");
    let extents = runs(&dump["extents"], "offset", |run| {
        run["allocated"].as_bool().map(|allocated| !allocated)
    });
    (number("capacity"), number("chunk"), extents)
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"))
}

fn runs(list: &Value, offset: &str, hole: impl Fn(&Value) -> Option<bool>) -> Vec<Run> {
    let list = list.as_array().expect("a list of runs");
    list.iter()
        .map(|run| Run {
            offset: run[offset].as_u64().expect("an offset"),
            length: run["length"].as_u64().expect("a length"),
            hole: hole(run).expect("a state"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(offset: u64, length: u64, hole: bool) -> Run {
        Run {
            offset,
            length,
            hole,
        }
    }

    #[test]
    fn a_chunk_with_any_data_is_data() {
        let runs = [
            run(0, 250, true),
            run(250, 10, false),
            run(260, 240, true),
            run(500, 30, true),
        ];
        let expected = [run(0, 200, true), run(200, 100, false), run(300, 230, true)];
        assert_eq!(in_chunks(&runs, 100), expected);
        assert_eq!(in_chunks(&runs, 1000), [run(0, 530, false)]);
        assert_eq!(in_chunks(&runs, 10), merged(&runs));
    }

    #[test]
    fn a_tail_that_is_cut_is_a_chunk_of_its_own() {
        let runs = [run(0, 90, false), run(90, 20, true)];
        let expected = [run(0, 100, false), run(100, 10, true)];
        assert_eq!(in_chunks(&runs, 100), expected);
        let runs = [run(0, 105, true), run(105, 5, false)];
        let expected = [run(0, 100, true), run(100, 10, false)];
        assert_eq!(in_chunks(&runs, 100), expected);
    }
}
