//! Requests, in both forms, and queries.

use std::ptr;

use vixdisklib_sys::{VIXDISKLIB_FLAG_OPEN_UNBUFFERED, VixDiskLibBlockList, VixError};

use super::caller::{CAPACITY, Caller, Closure, Disk};
use super::rule;
use crate::rule::Rule;
use crate::table::TABLE;

fn query(disk: Disk, start: u64, count: u64, chunk: u64) -> VixError {
    let query = TABLE.query_allocated_blocks.expect("there");
    let mut blocks: *mut VixDiskLibBlockList = ptr::null_mut();
    // SAFETY: an output of ours.
    let answer = unsafe { query(disk.raw(), start, count, chunk, &raw mut blocks) };
    if answer.is_ok() {
        let free = TABLE.free_block_list.expect("there");
        // SAFETY: from the partner of this call.
        unsafe { free(blocks) };
    }
    answer
}

unsafe extern "C" fn ignore(_: *mut std::ffi::c_void, _: VixError) {}

/// Two sectors whose first byte lies at a multiple of 512.
#[repr(align(512))]
struct Aligned([u8; 1024]);

fn read_unbuffered(caller: &Caller, offset: usize) {
    caller.init();
    let connection = caller.connect();
    let path = caller.make("disk");
    let disk = caller.open_path(connection, &path, VIXDISKLIB_FLAG_OPEN_UNBUFFERED);
    let mut memory = Box::new(Aligned([0; 1024]));
    let buffer = memory.0[offset..].as_mut_ptr();
    // SAFETY: a sector is there.
    let answer = unsafe { (TABLE.read)(disk.raw(), 0, 1, buffer) };
    assert!(answer.is_ok());
    caller.close(disk);
    caller.disconnect(connection);
    caller.exit();
}

rule! { ZeroLength zero_length
    broken |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, 0, 0);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, 0, 1);
        });
    }
}

rule! { OutOfRange out_of_range
    broken |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, CAPACITY - 1, 2);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, CAPACITY - 1, 1);
            caller.read(disk, 0, CAPACITY);
        });
    }
}

rule! { UnalignedBuffer unaligned_buffer
    broken |caller| {
        read_unbuffered(&caller, 8);
    }
    kept |caller| {
        read_unbuffered(&caller, 512);
    }
}

rule! { LongRequest long_request
    without OutOfRange;
    broken |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, 0, 4097);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, 0, CAPACITY);
        });
    }
}

rule! { QueryThread query_thread
    broken |caller| {
        caller.with_disk(|disk| caller.elsewhere(|| {
            assert!(query(disk, 0, 128, 128).is_ok());
        }));
    }
    kept |caller| {
        caller.with_disk(|disk| {
            assert!(query(disk, 0, 128, 128).is_ok());
        });
    }
}

rule! { QueryAlignment query_alignment
    broken |caller| {
        caller.with_disk(|disk| {
            query(disk, 1, 128, 128);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            assert!(query(disk, 128, 128, 128).is_ok());
        });
    }
}

rule! { QueryRange query_range
    broken |caller| {
        caller.with_disk(|disk| {
            // The tail of the disk cannot be asked for.
            query(disk, 128, 256, 128);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            assert!(query(disk, 0, 256, 128).is_ok());
        });
    }
}

rule! { AsyncNullCallback async_null_callback
    broken |caller| {
        caller.with_disk(|disk| {
            let read = TABLE.read_async.expect("there");
            let mut buffer = [0; 512];
            // SAFETY: our engine refuses null.
            unsafe { read(disk.raw(), 0, 1, buffer.as_mut_ptr(), None, ptr::null_mut()) };
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            let mut closure: Closure = Box::new(|| {});
            let mut buffer = [0; 512];
            // SAFETY: both outlive the wait.
            unsafe { caller.submit(disk, buffer.as_mut_ptr(), &mut closure) };
            caller.wait(disk);
        });
    }
}

rule! { BufferInFlight buffer_in_flight
    broken |caller| {
        caller.with_disk(|disk| {
            // A read that fails says so in the log before its callback.
            let extent = caller.folder().join("disk-flat.vmdk");
            std::fs::write(extent, []).expect("cut short");
            let mut buffer = Box::new([0; 512]);
            let address = buffer.as_mut_ptr().expose_provenance();
            let read = TABLE.read_async.expect("there");
            let submit = || {
                let buffer = ptr::with_exposed_provenance_mut(address);
                // SAFETY: the buffer outlives the wait; that two requests have it is what is tested, and neither
                // writes to it.
                let answer =
                    unsafe { read(disk.raw(), 0, 1, buffer, Some(ignore), ptr::null_mut()) };
                assert_eq!(answer, VixError::ASYNC);
            };
            let (accepted, is_accepted) = std::sync::mpsc::channel();
            caller.while_it_waits(
                || {
                    submit();
                    accepted.send(()).expect("received");
                },
                || {
                    is_accepted.recv().expect("accepted");
                    submit();
                },
            );
            caller.wait(disk);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            let mut buffers = [0; 1024];
            let (one, other) = buffers.split_at_mut(512);
            let mut closures: [Closure; 2] = [Box::new(|| {}), Box::new(|| {})];
            let [first, second] = &mut closures;
            // SAFETY: all outlive the wait.
            unsafe { caller.submit(disk, one.as_mut_ptr(), first) };
            // SAFETY: as above.
            unsafe { caller.submit(disk, other.as_mut_ptr(), second) };
            caller.wait(disk);
        });
    }
}

rule! { SyncDuringAsync sync_during_async
    broken |caller| {
        caller.with_disk(|disk| {
            let held = caller.hold(disk);
            assert!(caller.read(disk, 0, 1).is_ok());
            held.release(&caller);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            let held = caller.hold(disk);
            assert!(caller.transport_mode(disk));
            held.release(&caller);
            assert!(caller.read(disk, 0, 1).is_ok());
        });
    }
}

rule! { CloseInFlight close_in_flight
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let disk = caller.open(connection);
        caller.while_it_waits(|| caller.ask_for_nothing(disk), || {
            // The engine's close would wait for the other call, so it is only asked whether it may come.
            crate::gate::checked(
                "_Close",
                crate::check::Scope::Initialised,
                format_args!(".."),
                |check| {
                    check.disk(disk.raw().addr(), crate::check::Use::Close);
                },
                |_| VixError::OK,
                |_, _, _| {},
            );
        });
        caller.close(disk);
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.with_disk(|disk| caller.ask_for_nothing(disk));
    }
}

#[test]
fn a_request_whose_callback_runs_is_in_flight() {
    let caller = Caller::with(&[("VIXDISKLIB_RULES", "error")]);
    caller.with_disk(|disk| {
        let held = caller.hold(disk);
        assert_eq!(caller.close(disk), VixError::OBJECT_IS_BUSY);
        held.release(&caller);
    });
    assert_eq!(caller.seen(), ["close-in-flight"]);
}

rule! { CloseWithoutWait close_without_wait
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let disk = caller.open(connection);
        let mut buffer = [0; 512];
        let (send, receive) = std::sync::mpsc::channel();
        let mut closure: Closure = Box::new(move || send.send(()).expect("received"));
        // SAFETY: both outlive the request, which is over when nothing is in flight.
        unsafe { caller.submit(disk, buffer.as_mut_ptr(), &mut closure) };
        receive.recv().expect("called back");
        while !crate::state::lock().requests.is_empty() {
            std::thread::yield_now();
        }
        caller.close(disk);
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.with_disk(|disk| caller.hold(disk).release(&caller));
    }
}
