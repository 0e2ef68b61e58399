//! SkipZ: the runs of a piece that hold data; all else is zero.
//!
//! ```text
//!   u32 length of the piece ; u32 0 ; then ascending: u32 offset ; u32 length ; bytes
//! ```

/// A run costs this many bytes besides its own; fewer zeroes than that are not worth a new one.
const RUN_HEADER: usize = 8;

/// Compresses a piece; leaves `into` empty when that does not make it smaller.
pub(super) fn compress(data: &[u8], into: &mut Vec<u8>) {
    into.extend(number(data.len()));
    into.extend(number(0));
    let mut at = 0;
    while let Some(zeroes) = data
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte != 0))
    {
        let start = at.saturating_add(zeroes);
        let run = run_at(data, start);
        if into
            .len()
            .saturating_add(RUN_HEADER)
            .saturating_add(run.len())
            >= data.len()
        {
            into.clear();
            return;
        }
        into.extend(number(start));
        into.extend(number(run.len()));
        into.extend(run);
        at = start.saturating_add(run.len());
    }
}

/// The run from `start` to the next zeroes that are worth leaving out.
fn run_at(data: &[u8], start: usize) -> &[u8] {
    let rest = data.get(start..).unwrap_or_default();
    let mut last = 0;
    for (at, byte) in rest.iter().enumerate() {
        if *byte != 0 {
            last = at;
        } else if at.saturating_sub(last) >= RUN_HEADER {
            break;
        }
    }
    rest.get(..=last).unwrap_or_default()
}

fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

pub(super) fn decompress(data: &[u8], into: &mut [u8]) -> Result<(), &'static str> {
    let truncated = "it ends within a run";
    let (length, rest) = take_number(data).ok_or("it has no header")?;
    if length != into.len() {
        // Also seen: a piece that says it is compressed, but is not.
        if data.len() == into.len() {
            into.copy_from_slice(data);
            return Ok(());
        }
        return Err("it has another length");
    }
    let (zero, mut rest) = take_number(rest).ok_or("it has no header")?;
    if zero != 0 {
        return Err("its header has an unknown value");
    }
    let mut done = 0;
    while !rest.is_empty() {
        let (offset, after) = take_number(rest).ok_or(truncated)?;
        let (count, after) = take_number(after).ok_or(truncated)?;
        let (run, after) = after.split_at_checked(count).ok_or(truncated)?;
        let gap = into.get_mut(done..offset).ok_or("its runs do not ascend")?;
        gap.fill(0);
        let end = offset.checked_add(count).ok_or("a run is beyond its end")?;
        let target = into.get_mut(offset..end).ok_or("a run is beyond its end")?;
        target.copy_from_slice(run);
        done = end;
        rest = after;
    }
    if let Some(gap) = into.get_mut(done..) {
        gap.fill(0);
    }
    Ok(())
}

fn take_number(data: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = data.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "ABC" at 137, 01 02 at 500.
    const EXAMPLE: [u8; 29] = [
        0x00, 0x02, 0, 0, 0, 0, 0, 0, 0x89, 0, 0, 0, 3, 0, 0, 0, 0x41, 0x42, 0x43, 0xf4, 0x01, 0,
        0, 2, 0, 0, 0, 1, 2,
    ];

    fn sector() -> Vec<u8> {
        let mut data = vec![0; 512];
        data[137..140].copy_from_slice(b"ABC");
        data[500..502].copy_from_slice(&[1, 2]);
        data
    }

    #[test]
    fn the_agreed_example() {
        let mut into = Vec::new();
        compress(&sector(), &mut into);
        assert_eq!(into, EXAMPLE);
        let mut back = vec![0xff; 512];
        decompress(&EXAMPLE, &mut back).unwrap();
        assert_eq!(back, sector());
    }

    #[test]
    fn zeroes_alone_are_a_header() {
        let mut into = Vec::new();
        compress(&[0; 512], &mut into);
        assert_eq!(into, [0, 2, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn short_gaps_belong_to_a_run() {
        let mut data = vec![0; 512];
        data[10] = 1;
        data[18] = 1; // seven zeroes between them
        let mut into = Vec::new();
        compress(&data, &mut into);
        assert_eq!(into.len(), 8 + 8 + 9);
        data[18] = 0;
        data[19] = 1; // eight
        into.clear();
        compress(&data, &mut into);
        assert_eq!(into.len(), 8 + 8 + 1 + 8 + 1);
    }

    #[test]
    fn raw_data_under_the_wrong_name_is_taken() {
        let data = vec![7; 512];
        let mut back = vec![0; 512];
        decompress(&data, &mut back).unwrap();
        assert_eq!(back, data);
    }

    #[test]
    fn bad_runs_are_refused() {
        let mut back = vec![0; 512];
        for length in [0, 4, 12, 18, 28] {
            assert!(
                decompress(&EXAMPLE[..length], &mut back).is_err(),
                "{length}"
            );
        }
        let mut beyond = EXAMPLE;
        beyond[20] = 2; // at 756
        assert!(decompress(&beyond, &mut back).is_err());
        let mut over_the_end = EXAMPLE;
        over_the_end[19] = 0xff; // at 511
        assert!(decompress(&over_the_end, &mut back).is_err());
        let mut overlapping = EXAMPLE;
        overlapping[19] = 0x8a; // at 138
        overlapping[20] = 0;
        assert_eq!(
            decompress(&overlapping, &mut back),
            Err("its runs do not ascend")
        );
        let mut reserved = EXAMPLE;
        reserved[4] = 1;
        assert!(decompress(&reserved, &mut back).is_err());
        assert!(decompress(&EXAMPLE, &mut [0; 511]).is_err());
    }
}
