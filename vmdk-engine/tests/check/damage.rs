//! Random damage: a check always comes to an end, and a repair leaves a disk that is clean and has all that could be
//! read, or changes nothing.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::support::Numbers;
use super::support::esx::{CowdImage, cowd_text};
use super::support::image::{StreamImage, descriptor};
use super::*;

/// Three tables, some of whose grains are written.
fn sparse() -> Vec<u8> {
    let capacity = 2 * 65536 + 1000;
    let world = world_of(SparseImage::monolithic(capacity).build());
    let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
    for (number, start) in [(1, 0), (2, 700), (3, 65500), (4, 2 * 65536 + 200)] {
        disk.write_at(Sector::new(start), &[number; 100 * SECTOR])
            .unwrap();
    }
    disk.close().unwrap();
    world.bytes("disk.vmdk")
}

static SPARSE: LazyLock<Vec<u8>> = LazyLock::new(sparse);

static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut content = vec![0; 700 * SECTOR];
    Numbers::new(4).fill(&mut content[..100_000]);
    content[200_000..300_000].fill(9);
    StreamImage::build(&content, true).bytes
});

static COWD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    CowdImage::new(8192, 1)
        .fill(5, 1)
        .fill(4101, 2)
        .fill(4102, 3)
        .zero(4103)
        .build()
});

/// Values that are more often interesting than random ones.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<u32>().prop_map(|value| value.to_le_bytes().to_vec()),
        (0..700_u32).prop_map(|value| value.to_le_bytes().to_vec()),
        (0..20_u32).prop_map(|value| (value * 128).to_le_bytes().to_vec()),
        (0..64_u32).prop_map(|shift| (1_u64 << shift).to_le_bytes().to_vec()),
        Just(vec![0xff; 8]),
        Just(vec![0; 8]),
    ]
}

/// Bytes at these places, which are aligned as numbers are.
fn patches(places: &'static [(usize, usize)]) -> impl Strategy<Value = Vec<Patch>> {
    let place = (0..places.len(), any::<prop::sample::Index>()).prop_map(|(place, index)| {
        let (start, length) = places[place];
        start + index.index(length / 4) * 4
    });
    prop::collection::vec((place, value()), 1..5)
}

fn try_repair(good: &World, world: &World, allow_loss: bool) {
    let before = files(world);
    let could_read = readable(world, "disk.vmdk").unwrap_or_default();
    let original = readable(good, "disk.vmdk").unwrap();
    let found = check("disk.vmdk", &check_options(world)).unwrap();
    assert!(files(world) == before, "a check changed a file");
    let options = repair_options(world).allow_loss(allow_loss);
    let report = repair("disk.vmdk", &options).unwrap();
    assert_eq!(
        found.is_clean(),
        report.worst() <= Some(Severity::Info),
        "{}",
        lines(&found)
    );
    if !report.is_clean() {
        assert!(
            files(world) == before,
            "refused, but changed:\n{}",
            lines(&report)
        );
        return;
    }
    assert_sound("repaired", world);
    let can_read = readable(world, "disk.vmdk").unwrap();
    for (sector, now) in can_read.iter().enumerate() {
        assert!(
            now.is_some(),
            "sector {sector} cannot be read:\n{}",
            lines(&report)
        );
        let before = could_read.get(sector).and_then(Option::as_ref);
        let is_kept = before.is_none() || before == now.as_ref();
        assert!(
            is_kept || original.get(sector) == Some(now),
            "sector {sector} changed:\n{}",
            lines(&report)
        );
    }
}

/// More are tried with a number in `CHECK_CASES`.
fn cases() -> u32 {
    std::env::var("CHECK_CASES").map_or(8, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn of_sparse_disks(
        patches in patches(&[(0, 80), (21 * 512, 16), (22 * 512, 64), (34 * 512, 16), (35 * 512, 64), (43 * 512, 16), (512, 400)]),
        is_dirty: bool,
        allow_loss: bool,
    ) {
        let mut image = patched(&SPARSE, &patches);
        image[72] = u8::from(is_dirty);
        try_repair(&world_of(SPARSE.clone()), &world_of(image), allow_loss);
    }

    #[test]
    fn of_copy_on_write_deltas(
        patches in patches(&[(0, 28), (2048, 8), (2560, 64), (37 * 512, 64)]),
        allow_loss: bool,
    ) {
        let over_ones = |delta: Vec<u8>| World::default()
            .with("disk.vmdk", cowd_text(8192))
            .with("delta", delta)
            .with("base.vmdk", descriptor("monolithicFlat", &["RW 8192 FLAT \"flat\" 0"]))
            .with("flat", vec![0x11; 8192 * SECTOR]);
        try_repair(&over_ones(COWD.clone()), &over_ones(patched(&COWD, &patches)), allow_loss);
    }

    #[test]
    fn of_streams(cut in any::<prop::sample::Index>(), patches in patches(&[(0, 80), (128 * 512, 2048)]), is_cut: bool, allow_loss: bool) {
        let mut image = patched(&STREAM, &patches);
        if is_cut {
            image = STREAM[..cut.index(STREAM.len())].to_vec();
        }
        try_repair(&world_of(STREAM.clone()), &world_of(image), allow_loss);
    }
}
