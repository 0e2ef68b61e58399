//! Every format on top of every other. Products keep to a few of these pairs, but the bytes of all of them are plain, so
//! that nobody who has such files, from a conversion of one link for example, is kept from them. Only flat and
//! stream-optimised children are refused: they have no way to let a parent show.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use support::content;
use support::esx::{CowdImage, SeGrain, SeSparseImage};
use support::image::{
    MemoryGate, SECTOR, SparseImage, StreamImage, child_of, descriptor, put, put_entry,
};
use vmdk_engine::{Disk, ErrorKind, Sector};

const CAPACITY: u64 = 2048;
/// The sectors that links have something in; all others are zeros.
const USED: usize = 512;

const FORMATS: [&str; 7] = [
    "flat", "vmfs", "sparse", "split", "stream", "cowd", "sesparse",
];

/// A link that has `byte` in sectors 128..256, and as a child nothing else.
fn link(
    gate: MemoryGate,
    format: &str,
    name: &str,
    byte: u8,
    parent: Option<(u32, &str)>,
) -> MemoryGate {
    let extent = format!("{name}-extent");
    let text = |create_type: &str, lines: &[&str]| {
        let text = descriptor(create_type, lines);
        match parent {
            Some((cid, hint)) => child_of(&text, cid + 1, cid, hint),
            None => text,
        }
    };
    let line = |kind: &str| format!("RW {CAPACITY} {kind} \"{extent}\"");
    let mut flat = vec![0; usize::try_from(CAPACITY).unwrap() * SECTOR];
    flat[128 * SECTOR..256 * SECTOR].fill(byte);
    let grain = vec![byte; 128 * SECTOR];
    let with_grain = |image: SparseImage| {
        let mut bytes = image.build();
        let place = image.overhead();
        put_entry(
            &mut bytes,
            image.first_table(),
            1,
            u32::try_from(place).unwrap(),
        );
        let redundant = image.redundant_directory() + 1;
        put_entry(&mut bytes, redundant, 1, u32::try_from(place).unwrap());
        bytes.extend(&grain);
        bytes
    };
    match format {
        "flat" => gate
            .with(name, text("monolithicFlat", &[&line("FLAT")]))
            .with(&extent, flat),
        "vmfs" => gate
            .with(name, text("vmfs", &[&line("VMFS")]))
            .with(&extent, flat),
        "sparse" => {
            let image = SparseImage {
                text: text("monolithicSparse", &[&line("SPARSE")]),
                ..SparseImage::monolithic(CAPACITY)
            };
            gate.with(name, with_grain(image))
        }
        "split" => {
            let first = format!("RW 1000 SPARSE \"{extent}\"");
            let second = format!("RW {} SPARSE \"{extent}-2\"", CAPACITY - 1000);
            gate.with(name, text("twoGbMaxExtentSparse", &[&first, &second]))
                .with(&extent, with_grain(SparseImage::extent(1000)))
                .with(
                    &format!("{extent}-2"),
                    SparseImage::extent(CAPACITY - 1000).build(),
                )
        }
        "stream" => {
            let mut image = StreamImage::build(&flat, true).bytes;
            let text = text(
                "streamOptimized",
                &[&format!("RDONLY {CAPACITY} SPARSE \"x\"")],
            );
            image[SECTOR..21 * SECTOR].fill(0);
            put(&mut image, SECTOR, text.as_bytes());
            gate.with(name, image)
        }
        "cowd" => {
            let mut image = CowdImage::new(u32::try_from(CAPACITY).unwrap(), 1);
            for sector in 128..256 {
                image = image.fill(sector, byte);
            }
            gate.with(name, text("vmfsSparse", &[&line("VMFSSPARSE")]))
                .with(&extent, image.build())
        }
        _ => {
            let mut image = SeSparseImage::new(CAPACITY);
            for grain in 16..32 {
                let data = SeGrain::Data(grain - 16, vec![byte; 8 * SECTOR]);
                image.grains.insert(grain, data);
            }
            gate.with(name, text("seSparse", &[&line("SESPARSE")]))
                .with(&extent, image.build())
        }
    }
}

#[test]
fn every_child_shows_every_parent() {
    const BASE: u32 = 0x1f2e_3d4c;
    for parent in FORMATS {
        for child in FORMATS {
            let gate = link(MemoryGate::default(), parent, "base.vmdk", 1, None);
            let gate = link(gate, child, "child.vmdk", 2, Some((BASE, "base.vmdk")));
            let opened = Disk::open("child.vmdk", &gate.options());
            if ["flat", "vmfs", "stream"].contains(&child) {
                let kind = opened.unwrap_err().kind();
                assert_eq!(kind, ErrorKind::InvalidChain, "{child} over {parent}");
                continue;
            }
            let mut model = vec![0; USED * SECTOR];
            model[128 * SECTOR..256 * SECTOR].fill(2);
            let same = |disk: &Disk, model: &[u8]| {
                let found = content(disk);
                found[..USED * SECTOR] == *model
                    && found[USED * SECTOR..].iter().all(|byte| *byte == 0)
            };
            assert!(same(&opened.unwrap(), &model), "{child} over {parent}");

            // With a hosted child on top, which takes a part of what each of them has.
            let empty = SparseImage::monolithic(CAPACITY);
            let leaf = SparseImage {
                text: child_of(&empty.text, 99, BASE + 1, "child.vmdk"),
                ..empty
            };
            let gate = gate.with("leaf.vmdk", leaf.build());
            let options = gate.options().writable(true);
            let disk = Disk::open("leaf.vmdk", &options).unwrap();
            disk.write_at(Sector::new(200), &[3; 100 * SECTOR]).unwrap();
            model[200 * SECTOR..300 * SECTOR].fill(3);
            assert!(same(&disk, &model), "over {child} over {parent}");
            disk.close().unwrap();
            let disk = Disk::open("leaf.vmdk", &gate.options()).unwrap();
            assert!(same(&disk, &model), "over {child} over {parent}, reopened");
            assert_eq!(disk.info().links, 3);
        }
    }
}
