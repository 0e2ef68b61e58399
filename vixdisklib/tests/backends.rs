//! The safe API, the same on every back end.
//!
//! One test function, because a process has one live `Library` per back end.

#![cfg(all(feature = "embedded", feature = "loader"))]

mod support;

use std::error::Error as _;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::thread;

use support::{flat_disk, on_each_backend, pattern};
use vixdisklib::{
    Adapter, AlignedBuf, ByteLen, ChunkSize, ConnectOptions, ConnectParams, Credentials,
    DeliveryOrder, DiskCursor, ErrorKind, IoLimits, Library, OpenFlags, Operation, ParallelOptions,
    Parallelism, RequestSize, Secret, Sector, SectorCount, SectorRange, Spec, Transport, VixError,
    ZeroMode,
};

const SECTORS: usize = 1000;

#[test]
fn every_backend_behaves_alike() {
    on_each_backend(|library| {
        reads_and_writes(library);
        requests_that_must_not_reach_the_library(library);
        asynchronous_requests(library);
        requests_of_many_parts(library);
        reading_in_parallel(library);
        bytes_and_streams(library);
        many_threads_share_a_disk(library);
        extents_cover_the_disk(library);
        zeroes(library);
        errors_explain_themselves(library);
        metadata(library);
        a_server_that_is_not_there_is_told_without_secrets(library);
        initialisation_is_once(library);
    });
}

fn range(start: u64, count: u64) -> SectorRange {
    SectorRange::new(Sector::new(start), SectorCount::new(count)).expect("fits")
}

fn reads_and_writes(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = pattern(SECTORS);
    let path = flat_disk(folder.path(), &model);
    let disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");

    assert_eq!(disk.capacity(), SectorCount::new(SECTORS as u64));
    assert_eq!(disk.transport_mode(), &Transport::FILE);
    assert_eq!(disk.info().adapter, Adapter::LsiLogic);
    assert_eq!(disk.info().links, 1);
    assert_eq!(disk.info().logical_sector_size, Some(512));
    assert!(!disk.is_read_only());

    let mut whole = vec![0; model.len()];
    disk.read_at(Sector::ZERO, &mut whole).expect("reads");
    assert_eq!(whole, model);

    disk.write_at(Sector::new(999), &[0xAB; 512])
        .expect("writes the last sector");
    model[999 * 512..].fill(0xAB);
    disk.flush().expect("flushes");
    disk.close().expect("closes");
    assert_eq!(
        fs::read(folder.path().join("disk-flat.vmdk")).expect("the extent"),
        model
    );
}

fn requests_that_must_not_reach_the_library(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = flat_disk(folder.path(), &pattern(SECTORS));
    let options = ConnectOptions::default();
    let connection = library
        .connect(ConnectParams::local(), &options)
        .expect("local");
    let disk = connection
        .open_disk(&path, OpenFlags::READ_ONLY)
        .expect("opens");
    let kind = |result: vixdisklib::Result<()>| {
        let error = result.expect_err("refused");
        assert_eq!(error.code(), None, "{error}");
        error.kind()
    };
    assert_eq!(
        kind(disk.read_at(Sector::ZERO, &mut [])),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        kind(disk.read_at(Sector::ZERO, &mut [0; 511])),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        kind(disk.read_at(Sector::new(1000), &mut [0; 512])),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(disk.read_at(Sector::new(u64::MAX), &mut [0; 512])),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(disk.write_at(Sector::ZERO, &[0; 512])),
        ErrorKind::ReadOnly
    );
    assert_eq!(
        kind(disk.write_zeroes(range(0, 1), ZeroMode::MayFree)),
        ErrorKind::ReadOnly
    );
    assert_eq!(kind(disk.trim(range(0, 1))), ErrorKind::ReadOnly);
    assert_eq!(
        kind(disk.extents(range(0, 1001)).map(drop)),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(connection.open_disk("a\0b", OpenFlags::empty()).map(drop)),
        ErrorKind::InvalidArgument
    );
}

fn asynchronous_requests(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = pattern(SECTORS);
    let path = flat_disk(folder.path(), &vec![0; model.len()]);
    let disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");

    let writes: Vec<_> = model
        .chunks(8 * 512)
        .enumerate()
        .map(|(index, bytes)| {
            let mut buf = AlignedBuf::new(SectorCount::new(8));
            buf.copy_from_slice(bytes);
            disk.write_async(Sector::new(8 * index as u64), buf)
        })
        .collect();
    for write in writes.into_iter().rev() {
        write.wait().0.expect("written");
    }
    disk.settle().expect("settles");

    let reads: Vec<_> = (0..125)
        .map(|index| disk.read_async(Sector::new(8 * index), AlignedBuf::new(SectorCount::new(8))))
        .collect();
    let read: Vec<u8> = reads
        .into_iter()
        .flat_map(|read| {
            let (done, buf) = pollster::block_on(read);
            done.expect("read");
            buf.to_vec()
        })
        .collect();
    assert_eq!(read, model);

    let (done, buf) = disk
        .read_async(Sector::new(999), AlignedBuf::new(SectorCount::new(2)))
        .wait();
    let error = done.expect_err("past the end");
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::OutOfRange, Operation::Read)
    );
    assert_eq!(
        buf.sectors(),
        SectorCount::new(2),
        "the buffer comes back on failure too"
    );

    // What was dropped is given up, and disturbs nobody.
    let given_up: Vec<_> = (0..300)
        .map(|_| disk.read_async(Sector::ZERO, AlignedBuf::new(SectorCount::new(1000))))
        .collect();
    drop(given_up);
    disk.settle().expect("settles");

    // Closing waits for what is in flight.
    let late = disk.read_async(Sector::ZERO, AlignedBuf::new(SectorCount::new(512)));
    disk.close().expect("closes");
    assert_eq!(&late.wait().1[..], &model[..512 * 512]);
}

fn requests_of_many_parts(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = flat_disk(folder.path(), &vec![0; SECTORS * 512]);
    let mut disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");
    let mut limits = IoLimits::default();
    limits.request = RequestSize::MIN;
    limits.depth = NonZeroUsize::new(3).expect("some");
    disk.set_io_limits(limits);
    let model = pattern(SECTORS);
    let mut buf = AlignedBuf::new(SectorCount::new(SECTORS as u64));
    buf.copy_from_slice(&model);
    let (done, _) = disk.write_async(Sector::ZERO, buf).wait();
    done.expect("written in 125 parts, 3 at a time");
    disk.settle().expect("settles");

    let disk = disk.into_shared().expect("shared");
    assert_eq!(disk.io_limits(), limits);
    let reads: Vec<_> = (0..4)
        .map(|_| disk.read_async(Sector::new(1), AlignedBuf::new(SectorCount::new(999))))
        .collect();
    for read in reads {
        let (done, buf) = pollster::block_on(read);
        done.expect("read");
        assert!(buf[..] == model[512..]);
    }
    disk.close().expect("closes");
}

fn reading_in_parallel(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = pattern(3 * 4096 + 5);
    let path = flat_disk(folder.path(), &model);
    let connection = library.connect_local().expect("local");
    for parallelism in [
        Parallelism::Auto,
        Parallelism::Requests,
        Parallelism::Handles,
    ] {
        let mut options = ParallelOptions::default();
        options.parallelism = parallelism;
        options.order = DeliveryOrder::AsRead;
        let mut reader = connection
            .open_parallel(&path, OpenFlags::empty(), options)
            .expect("opens");
        let whole = SectorRange::whole(reader.disk().capacity());
        let extents = reader.disk().extents(whole).expect("in range");
        let ranges: Vec<_> = extents
            .map(|extent| extent.expect("an extent").range)
            .collect();
        let mut copy = vec![0; model.len()];
        let read = reader.read(ranges, |range, bytes| {
            let from = usize::try_from(range.start().get()).expect("small") * 512;
            copy[from..from + bytes.len()].copy_from_slice(bytes);
            Ok::<_, vixdisklib::Error>(())
        });
        read.expect("read");
        assert!(copy == model, "{parallelism:?}");
        reader.close().expect("closes");
    }
}

fn bytes_and_streams(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = pattern(SECTORS);
    let path = flat_disk(folder.path(), &model);
    let connection = library.connect_local().expect("local");
    let disk = connection
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");

    disk.write_all_at(ByteLen::new(1000), &[1; 3000])
        .expect("written");
    model[1000..4000].fill(1);
    let mut bytes = vec![0; 5001];
    disk.read_exact_at(ByteLen::new(777), &mut bytes)
        .expect("read");
    assert!(bytes == model[777..][..5001]);
    let size = SECTORS as u64 * 512;
    disk.read_exact_at(ByteLen::new(u64::MAX), &mut [])
        .expect("nothing is everywhere");
    for (offset, length) in [(size - 1, 2), (size, 1), (u64::MAX, 1), (u64::MAX - 3, 600)] {
        let error = disk.read_exact_at(ByteLen::new(offset), &mut vec![0; length]);
        let kind = error.expect_err("past the end").kind();
        assert_eq!(kind, ErrorKind::OutOfRange, "{length} bytes at {offset}");
        let error = disk.write_all_at(ByteLen::new(offset), &vec![0; length]);
        assert_eq!(
            error.expect_err("past the end").kind(),
            ErrorKind::OutOfRange
        );
    }

    let mut cursor = DiskCursor::new(disk);
    cursor.seek(SeekFrom::End(-5)).expect("inside");
    assert_eq!(
        cursor.write(b"seven..").expect("up to the end"),
        5,
        "a disk does not grow"
    );
    model[SECTORS * 512 - 5..].copy_from_slice(b"seven");
    let full = cursor.write_all(b"x").expect_err("at the end");
    assert_eq!(full.kind(), io::ErrorKind::WriteZero);
    assert_eq!(cursor.read(&mut [0; 9]).expect("the end"), 0);
    cursor
        .seek(SeekFrom::Current(1 << 40))
        .expect("behind the end");
    assert_eq!(cursor.read(&mut [0; 9]).expect("the end"), 0);
    cursor
        .seek(SeekFrom::End(-(1 << 40)))
        .expect_err("before the start");
    cursor.flush().expect("flushes");
    cursor.rewind().expect("the start");
    let mut whole = Vec::new();
    io::BufReader::new(&mut cursor)
        .read_to_end(&mut whole)
        .expect("read");
    assert!(whole == model);
    cursor.into_disk().close().expect("closes");

    let disk = connection
        .open_disk(&path, OpenFlags::READ_ONLY)
        .expect("opens");
    let error = DiskCursor::new(&disk).write(b"x").expect_err("read-only");
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    let shared = disk.into_shared().expect("shared");
    let mut three = [0; 3];
    DiskCursor::new(shared.clone())
        .read_exact(&mut three)
        .expect("read");
    assert_eq!(three, model[..3]);
}

fn many_threads_share_a_disk(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = flat_disk(folder.path(), &vec![0; SECTORS * 512]);
    let disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");
    let disk = disk.into_shared().expect("shared");
    let model = pattern(SECTORS);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (disk, model) = (disk.clone(), &model);
            scope.spawn(move || {
                for sector in (worker..SECTORS).step_by(4) {
                    let bytes = &model[sector * 512..][..512];
                    disk.write_at(Sector::new(sector as u64), bytes)
                        .expect("writes");
                    let mut back = [0; 512];
                    disk.read_at(Sector::new(sector as u64), &mut back)
                        .expect("reads");
                    assert_eq!(back, bytes);
                }
            });
        }
    });
    disk.flush().expect("flushes");
    disk.close().expect("closes");
    assert_eq!(
        fs::read(folder.path().join("disk-flat.vmdk")).expect("the extent"),
        model
    );
}

fn extents_cover_the_disk(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = flat_disk(folder.path(), &pattern(SECTORS));
    let disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::READ_ONLY)
        .expect("opens");
    let whole = SectorRange::whole(disk.capacity());
    let extents: Vec<_> = disk
        .extents(whole)
        .expect("in range")
        .map(|extent| extent.expect("known"))
        .collect();
    assert_eq!(
        extents
            .iter()
            .map(|extent| extent.range)
            .collect::<Vec<_>>(),
        [whole]
    );
    assert!(extents[0].allocated && !extents[0].zero);

    let part = range(100, 300);
    let chunks: Vec<_> = disk
        .chunks(part, ChunkSize::MIN)
        .expect("in range")
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        chunks.iter().map(|extent| extent.range).collect::<Vec<_>>(),
        [part]
    );
    assert_eq!(disk.extents(range(5, 0)).expect("empty").count(), 0);
}

fn zeroes(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = pattern(SECTORS);
    let path = flat_disk(folder.path(), &model);
    let disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");
    disk.write_zeroes(range(10, 500), ZeroMode::MayFree)
        .expect("zeroes");
    disk.write_zeroes(range(600, 1), ZeroMode::MustAllocate)
        .expect("zeroes");
    model[10 * 512..510 * 512].fill(0);
    model[600 * 512..601 * 512].fill(0);
    let mut whole = vec![0; model.len()];
    disk.read_at(Sector::ZERO, &mut whole).expect("reads");
    assert!(whole == model);
}

fn errors_explain_themselves(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = library.connect_local().expect("local");
    let open = |path: &std::path::Path| {
        connection
            .open_disk(path, OpenFlags::empty())
            .expect_err("refused")
    };

    let missing = folder.path().join("missing.vmdk");
    let error = open(&missing);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.code().map(|code| code.code()),
        Some(VixError::FILE_NOT_FOUND.code())
    );
    assert!(error.to_string().contains("missing.vmdk"), "{error}");

    // The code says only that a file is missing; the log line says which.
    let path = flat_disk(folder.path(), &pattern(8));
    fs::remove_file(folder.path().join("disk-flat.vmdk")).expect("removed");
    let error = open(&path);
    let cause = error.source().expect("explained").to_string();
    assert!(cause.contains("disk-flat.vmdk"), "{error}: {cause}");
    assert!(
        error
            .log_lines()
            .iter()
            .any(|line| line.text().contains("disk-flat.vmdk"))
    );
}

fn metadata(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = flat_disk(folder.path(), &pattern(8));
    let disk = library
        .connect_local()
        .expect("local")
        .open_disk(&path, OpenFlags::READ_ONLY)
        .expect("opens");
    assert_eq!(
        disk.metadata("virtualHWVersion").expect("read").as_deref(),
        Some("14")
    );
    assert_eq!(disk.metadata("no.such.key").expect("asked"), None);
    let mut keys = disk.metadata_keys().expect("listed");
    keys.sort();
    assert_eq!(keys, ["adapterType", "virtualHWVersion"]);
}

fn a_server_that_is_not_there_is_told_without_secrets(library: &Library) {
    let password = Secret::new("open-sesame-1001".to_owned()).expect("no NUL");
    let params = ConnectParams::builder(Spec::Vm {
        moref: "vm-16".to_owned(),
    })
    .server("vcenter.invalid")
    .credentials(Credentials::Password {
        user: "backup".to_owned(),
        password,
    })
    .build()
    .expect("complete");
    let error = library
        .connect(params, &ConnectOptions::default())
        .and_then(|connection| connection.open_disk("[ds] vm/vm.vmdk", OpenFlags::READ_ONLY))
        .expect_err("there is no such server");
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(!format!("{error} {error:?}").contains("sesame"));
}

fn initialisation_is_once(library: &Library) {
    let error = Library::builder(library.backend().clone())
        .open()
        .expect_err("is live");
    assert_eq!(error.kind(), ErrorKind::Initialization);
    let modes = library.clone().transport_modes().to_string();
    assert_eq!(modes, "file:nbdssl:nbd");
}
