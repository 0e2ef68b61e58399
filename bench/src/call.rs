//! One read of 4 KiB through the safe API, and through the function table that it calls, by turns.

use std::ffi::CString;
use std::path::Path;
use std::ptr;
use std::time::Instant;

use vixdisklib::{AlignedBuf, Library, OpenFlags, Sector, SectorCount};
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VIXDISKLIB_FLAG_OPEN_READ_ONLY, VixDiskLibConnectParams, VixError};

use super::{Result, SECTORS, Spread};

/// Many short rounds: what else runs on the machine interrupts few of them, and the medians do not see those.
const ROUNDS: usize = 8001;
const READS: u32 = 25;
const COUNT: u64 = 8;
/// What a safe call may cost more, in nanoseconds.
const TARGET: f64 = 50.0;

pub(super) fn measure(path: &Path) -> Result {
    // Initialises the engine for both.
    let library = Library::embedded()?;
    let disk = library
        .connect_local()?
        .open_disk(path, OpenFlags::READ_ONLY)?;

    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut params = VixDiskLibConnectParams::default();
    let (mut connection, mut handle) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: zeroed parameters mean local disks; the output is writable; the library is initialised while `library` lives.
    let connected = unsafe {
        (TABLE.connect_ex)(
            &raw mut params,
            1,
            ptr::null(),
            ptr::null(),
            &raw mut connection,
        )
    };
    expect(connected)?;
    // SAFETY: the connection is open, the name a C string, the output writable.
    let opened = unsafe {
        (TABLE.open)(
            connection,
            name.as_ptr(),
            VIXDISKLIB_FLAG_OPEN_READ_ONLY,
            &raw mut handle,
        )
    };
    expect(opened)?;

    // One for both: how fast the system fills a buffer depends on where it lies.
    let mut buf = AlignedBuf::new(SectorCount::new(COUNT));
    let raw = |start: u64, buf: &mut [u8]| {
        // SAFETY: the handle is open, the sectors lie in the disk, and the buffer holds them.
        let code = unsafe { (TABLE.read)(handle, start, COUNT, buf.as_mut_ptr()) };
        expect(code)
    };
    let safe = |start: u64, buf: &mut [u8]| Ok(disk.read_at(Sector::new(start), buf)?);

    let (mut raw_times, mut safe_times, mut differences) = (vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        let (raw_time, safe_time) = if round % 2 == 0 {
            let first = time(raw, &mut buf)?;
            (first, time(safe, &mut buf)?)
        } else {
            let first = time(safe, &mut buf)?;
            (time(raw, &mut buf)?, first)
        };
        // The first round warms the caches.
        if round > 0 {
            raw_times.push(raw_time);
            safe_times.push(safe_time);
            differences.push(safe_time - raw_time);
        }
    }
    let (raw, safe, more) = (
        Spread::of(raw_times),
        Spread::of(safe_times),
        Spread::of(differences),
    );
    println!(
        "4 KiB read, {ROUNDS} rounds of {READS} by turns: table {:.0} ns ({:.0}-{:.0}), safe {:.0} ns ({:.0}-{:.0}), \
         ratio {:.3}",
        raw.median,
        raw.least,
        raw.largest,
        safe.median,
        safe.least,
        safe.largest,
        safe.median / raw.median
    );
    println!(
        "    the safe call costs {:.0} ns more (median of the differences), target under {TARGET:.0}: {}",
        more.median,
        if more.median < TARGET {
            "met"
        } else {
            "MISSED"
        }
    );

    // SAFETY: open, and not used again.
    let _ = unsafe { (TABLE.close)(handle) };
    // SAFETY: its one disk is closed; not used again.
    let _ = unsafe { (TABLE.disconnect)(connection) };
    Ok(())
}

/// Nanoseconds of one read.
fn time(read: impl Fn(u64, &mut [u8]) -> Result, buf: &mut [u8]) -> Result<f64> {
    let begin = Instant::now();
    for number in 0..READS {
        // In the same places each time, so that the caches treat both alike.
        let start = u64::from(number) * 7919 % (SECTORS / COUNT) * COUNT;
        read(start, buf)?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e9 / f64::from(READS))
}

fn expect(code: VixError) -> Result {
    if code == VixError::OK {
        Ok(())
    } else {
        Err(format!("the library failed: {code:?}").into())
    }
}
