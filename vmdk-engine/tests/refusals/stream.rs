//! Stream-optimised extents: records and footers.

use super::support::image::{StreamImage, deflate, entry, put, put_entry};
use super::support::{Numbers, content};
use super::*;

#[test]
fn streams() {
    let mut source = vec![0; 300 * SECTOR];
    source[..65536].fill(3);
    Numbers::new(3).fill(&mut source[65536..131_072]);
    source[131_072..].fill(4);
    let image = StreamImage::build(&source, true);
    let good = &image.bytes;
    let gate = MemoryGate::default().with("disk.vmdk", good.clone());
    assert!(content(&Disk::open("disk.vmdk", &gate.options()).unwrap()) == source);
    let end = good.len();
    let record = |grain: usize| usize::try_from(image.records[grain]).unwrap() * SECTOR;
    let (first, last) = (record(0), record(2));
    let size = u32::from_le_bytes(good[first + 8..first + 12].try_into().unwrap());
    let data_end = first + 12 + usize::try_from(size).unwrap();
    let replaced = |data: Vec<u8>| {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes().to_vec();
        vec![(first + 8, size), (first + 12, data)]
    };
    let bomb = deflate(&vec![0; 16 << 20]);
    let shorter = deflate(&[3; 65024]);
    let longer = deflate(&[3; 65537]);
    assert!(shorter.len() < SECTOR && longer.len() < SECTOR);
    let no_marker = vec![(end - 3 * SECTOR + 12, vec![1])];
    for (name, patches, expected) in [
        ("nothing", vec![], Fine),
        ("record size 0", vec![u32_at(first + 8, 0)], DAMAGED),
        (
            "record size 2^31 - 1",
            vec![u32_at(first + 8, 0x7fff_ffff)],
            DAMAGED,
        ),
        (
            "record longer than the file",
            vec![u32_at(last + 8, 100_000)],
            DAMAGED,
        ),
        ("other grain's record", vec![u64_at(first, 128)], DAMAGED),
        (
            "checksum wrong",
            vec![(data_end - 1, vec![!good[data_end - 1]])],
            DAMAGED,
        ),
        (
            "checksum missing",
            vec![u32_at(first + 8, size - 4)],
            DAMAGED,
        ),
        ("not zlib", vec![(first + 12, vec![0xff; 8])], DAMAGED),
        (
            "raw deflate",
            vec![
                u32_at(first + 8, size - 2),
                (first + 12, good[first + 14..data_end].to_vec()),
            ],
            DAMAGED,
        ),
        (
            "bytes behind the zlib end",
            vec![u32_at(first + 8, size + 5)],
            Fine,
        ),
        ("inflates to less than a grain", replaced(shorter), DAMAGED),
        ("inflates to one byte more", replaced(longer), DAMAGED),
        ("footer: other marker", no_marker, BAD),
        (
            "footer: magic",
            vec![(end - 2 * SECTOR, b"XXXX".to_vec())],
            BAD,
        ),
        (
            "footer: capacity",
            vec![u64_at(end - 2 * SECTOR + 12, 301)],
            BAD,
        ),
        (
            "footer: directory",
            vec![u64_at(end - 2 * SECTOR + 56, 0)],
            BAD,
        ),
        ("no end of stream", vec![u32_at(end - SECTOR + 12, 7)], BAD),
        (
            "descriptor and directory zeroed",
            vec![(512, vec![0; 20 * SECTOR])],
            BAD,
        ),
    ] {
        let mut bytes = good.clone();
        for (position, patch) in patches {
            put(&mut bytes, position, &patch);
        }
        let writable = if expected == Fine { NOT_YET } else { expected };
        let writable = match writable {
            Read(_) => NOT_YET,
            other => other,
        };
        check(name, &bytes, expected, writable);
    }
    check("cut off", &good[..end - SECTOR], BAD, BAD);
    let mut behind = good.clone();
    behind.extend([0; 65536]);
    check("bytes behind the end", &behind, BAD, BAD);

    let mut bombed = good.clone();
    let start = end / SECTOR;
    bombed.extend(0_u64.to_le_bytes());
    bombed.extend(u32::try_from(bomb.len()).unwrap().to_le_bytes());
    bombed.extend(&bomb);
    bombed.resize(bombed.len().next_multiple_of(SECTOR), 0);
    put(&mut bombed, 56, &image.directory.to_le_bytes());
    let table = u64::from(entry(good, image.directory, 0));
    put_entry(&mut bombed, table, 0, u32::try_from(start).unwrap());
    check("inflates to 16 MiB", &bombed, DAMAGED, NOT_YET);
}
