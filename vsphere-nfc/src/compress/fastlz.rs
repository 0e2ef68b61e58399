//! FastLZ blocks of levels 1 and 2.
//!
//! A block is a row of literals and matches. A control byte `c` begins each:
//!
//! ```text
//!   000LLLLL                L+1 literal bytes follow
//!   LLLooooo  LLL 1 to 6    LLL+2 bytes from (ooooo<<8 | next byte) + 1 back
//!   111ooooo                longer: 9 + extension, then the low byte of the distance
//! ```
//!
//! The extension is one byte in level 1; in level 2 it is a row of bytes that ends with one below 255. In level 2 a
//! distance of 8191 (all ones) is followed by two more bytes: what they hold, high byte first, and 8192 is the distance.
//! The top three bits of the first control byte hold the level minus one; it always begins literals.
//!
//! Checked against the reference library through its Python binding.

mod encode;

pub(super) use encode::compress;

/// The longest distance of a match of level 1, and of a short one of level 2, minus 1.
const NEAR: usize = 8191;

/// The variants of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For small blocks.
    One,
    /// For blocks of 64 KiB or more.
    Two,
}

impl Level {
    /// The level that hosts use for a block of this many bytes.
    #[must_use]
    pub fn for_length(length: usize) -> Self {
        if length < 64 << 10 {
            Self::One
        } else {
            Self::Two
        }
    }
}

pub(super) fn decompress(data: &[u8], into: &mut [u8]) -> Result<(), &'static str> {
    let mut input = Input(data);
    let first = input.byte()?;
    let level = match first >> 5 {
        0 => Level::One,
        1 => Level::Two,
        _ => return Err("its level is unknown"),
    };
    let mut output = Output { into, done: 0 };
    let mut control = first & 31;
    loop {
        if control < 32 {
            let count = usize::from(control).saturating_add(1);
            output.literals(input.bytes(count)?)?;
        } else {
            let (count, distance) = input.a_match(level, control)?;
            output.repeat(count, distance)?;
        }
        if input.0.is_empty() {
            break;
        }
        control = input.byte()?;
    }
    if output.done == output.into.len() {
        Ok(())
    } else {
        Err("it has another length")
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (byte, rest) = self.0.split_first().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*byte)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Length and distance of the match that `control` begins.
    fn a_match(&mut self, level: Level, control: u8) -> Result<(usize, usize), &'static str> {
        let mut count = usize::from(control >> 5).saturating_add(2);
        if control >> 5 == 7 {
            loop {
                let more = self.byte()?;
                count = count.saturating_add(more.into());
                if level == Level::One || more != 255 {
                    break;
                }
            }
        }
        let high = usize::from(control & 31) << 8;
        let mut distance = high | usize::from(self.byte()?);
        if level == Level::Two && distance == NEAR {
            let far = usize::from(self.byte()?) << 8;
            distance = distance.saturating_add(far | usize::from(self.byte()?));
        }
        Ok((count, distance.saturating_add(1)))
    }
}

struct Output<'a> {
    into: &'a mut [u8],
    done: usize,
}

impl Output<'_> {
    fn literals(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let end = self.done.saturating_add(bytes.len());
        let target = self.into.get_mut(self.done..end).ok_or(TOO_LONG)?;
        target.copy_from_slice(bytes);
        self.done = end;
        Ok(())
    }

    /// Repeats what lies `distance` back. The source may overlap what it becomes.
    fn repeat(&mut self, count: usize, distance: usize) -> Result<(), &'static str> {
        let from = self
            .done
            .checked_sub(distance)
            .ok_or("a match is before its begin")?;
        let end = self.done.saturating_add(count);
        if end > self.into.len() {
            return Err(TOO_LONG);
        }
        // What was copied can be copied again: each round doubles what is there.
        while self.done < end {
            let left = end.saturating_sub(self.done);
            let ready = self.done.saturating_sub(from).min(left);
            self.into
                .copy_within(from..from.saturating_add(ready), self.done);
            self.done = self.done.saturating_add(ready);
        }
        Ok(())
    }
}

const TOO_LONG: &str = "it is longer than announced";

#[cfg(test)]
mod tests;
