//! The metadata contexts of a disk.

use std::ops::ControlFlow;

use vixdisklib::nbd::{DiskExport, Export, ZeroRequest};
use vixdisklib::{
    ByteLen, ChangedAreas, DiskKind, ErrorKind, OpenFlags, Sector, SectorCount, SectorRange,
};

use crate::world::{World, noise};

const GRAIN: u64 = 65_536;

/// The flags of each grain in a context.
fn flags(export: &DiskExport, context: &str) -> Vec<u32> {
    let index = export.contexts().iter().position(|name| name == context);
    let mut all = Vec::new();
    let visit = &mut |length: ByteLen, flags| {
        assert_eq!(length.get() % GRAIN, 0, "runs of grains");
        all.extend((0..length.get() / GRAIN).map(|_| flags));
        ControlFlow::Continue(())
    };
    export
        .context_status(index.unwrap(), ByteLen::ZERO, export.size(), visit)
        .unwrap();
    all
}

#[test]
fn depth_tells_the_link_that_holds_a_grain() {
    let world = World::new();
    let grain = noise(1, 65_536);
    let mut first = vec![0; 6 * 65_536];
    first[..65_536 * 3].copy_from_slice(&noise(1, 65_536 * 3));
    let mut path = world.disk("0.vmdk", DiskKind::MONOLITHIC_SPARSE, &first);
    for (name, number) in [("1.vmdk", 1), ("2.vmdk", 2)] {
        path = world.child(&path, name);
        let export = world.export(&path, OpenFlags::empty());
        export
            .write_at(ByteLen::new(GRAIN * number), &grain)
            .unwrap();
    }
    let depth = "qemu:allocation-depth";
    for export_flags in [OpenFlags::READ_ONLY, OpenFlags::empty()] {
        let export = world.export(&path, export_flags);
        assert_eq!(export.contexts(), [depth]);
        assert_eq!(flags(&export, depth), [3, 2, 1, 0, 0, 0]);
    }
    let export = world.export(&path, OpenFlags::empty());
    assert_eq!(flags(&export, depth), [3, 2, 1, 0, 0, 0]);
    export.write_at(ByteLen::new(100), b"x").unwrap();
    export.write_at(ByteLen::new(GRAIN * 5 - 1), b"xx").unwrap();
    assert_eq!(flags(&export, depth), [1, 2, 1, 0, 1, 1]);
    export
        .trim(ByteLen::new(GRAIN), ByteLen::new(GRAIN))
        .unwrap();
    let may_free = ZeroRequest {
        may_free: true,
        fast_only: false,
    };
    let last = ByteLen::new(GRAIN * 4);
    export
        .write_zeroes(last, ByteLen::new(GRAIN * 2), may_free)
        .unwrap();
    // The zeros that hide the parent's data are held by this disk; where the parent has none, nobody needs to.
    assert_eq!(flags(&export, depth), [1, 1, 1, 0, 0, 0]);
    let plain = export.without_extents();
    assert_eq!(plain.contexts(), [""; 0]);
    assert!(!plain.knows_zeroes());
    let mut runs = 0;
    let count = &mut |length: ByteLen, state| {
        runs += 1;
        assert_eq!(length, plain.size());
        assert_eq!(state, vixdisklib::nbd::BlockState::Data);
        ControlFlow::Continue(())
    };
    plain
        .block_status(ByteLen::ZERO, plain.size(), count)
        .unwrap();
    assert_eq!(runs, 1);
}

#[test]
fn bitmaps_tell_what_changed() {
    let world = World::new();
    let content = vec![0; 4 * 65_536];
    let path = world.disk("disk.vmdk", DiskKind::MONOLITHIC_SPARSE, &content);
    let export = world.export(&path, OpenFlags::empty());
    let areas = |capacity, start, count| {
        let area = SectorRange::new(Sector::new(start), SectorCount::new(count)).unwrap();
        ChangedAreas::new(SectorCount::new(capacity), [area]).unwrap()
    };
    let export = export.with_bitmap("monday", areas(512, 128, 128)).unwrap();
    let export = export.with_bitmap("täglich", areas(512, 384, 128)).unwrap();
    assert_eq!(flags(&export, "qemu:dirty-bitmap:monday"), [0, 1, 0, 0]);
    export.write_at(ByteLen::ZERO, b"later").unwrap();
    assert_eq!(flags(&export, "qemu:dirty-bitmap:täglich"), [0, 0, 0, 1]);
    let no_such =
        export.context_status(3, ByteLen::ZERO, export.size(), &mut |_, _| unreachable!());
    assert!(no_such.is_err());

    let refused = |name: &str, areas| {
        let export = world.export(&path, OpenFlags::READ_ONLY);
        let export = export.with_bitmap("one", ChangedAreas::default()).unwrap();
        export.with_bitmap(name, areas).unwrap_err().kind()
    };
    drop(export);
    assert_eq!(refused("", areas(512, 0, 1)), ErrorKind::InvalidArgument);
    assert_eq!(refused("one", areas(512, 0, 1)), ErrorKind::InvalidArgument);
    assert_eq!(
        refused("a\0b", areas(512, 0, 1)),
        ErrorKind::InvalidArgument
    );
    let long = "x".repeat(4001);
    assert_eq!(refused(&long, areas(512, 0, 1)), ErrorKind::InvalidArgument);
    assert_eq!(refused("two", areas(600, 512, 1)), ErrorKind::OutOfRange);
}
