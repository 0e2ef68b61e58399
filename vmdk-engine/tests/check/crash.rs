//! A repair that is interrupted anywhere is finished by the next one, and loses nothing on the way.

use super::support::Numbers;
use super::support::esx::{CowdImage, cowd_text};
use super::support::image::{StreamImage, descriptor};
use super::*;

/// Stops a repair behind every change, as if the process were killed or the machine cut off, and repairs again.
fn interrupt(name: &str, world: &World, allow_loss: bool) {
    let could_read = readable(world, "disk.vmdk").unwrap_or_default();
    let options = |world: &World| repair_options(world).allow_loss(allow_loss);
    let whole = world.restarted();
    let report = repair("disk.vmdk", &options(&whole)).unwrap();
    assert!(report.is_clean(), "{name}: {}", lines(&report));
    assert!(whole.len() > 1, "{name}: nothing was done");
    let expected = readable(&whole, "disk.vmdk").unwrap();
    let mut numbers = Numbers::new(5);
    // How often the machine is cut off at each place.
    let seeds = std::env::var("VMDK_CRASH_SEEDS").ok();
    let seeds = seeds.map_or(1, |seeds| seeds.parse().unwrap());
    for events in 0..whole.len() {
        for try_number in 0..=seeds {
            let stopped = match try_number {
                0 => whole.killed(events),
                _ => whole.crashed(events, &mut numbers),
            };
            let name = format!("{name}, stopped behind {events} of {} changes", whole.len());
            if let Some(now) = readable(&stopped, "disk.vmdk") {
                for (sector, (before, now)) in could_read.iter().zip(&now).enumerate() {
                    let is_kept =
                        before.is_none() || before == now || Some(now) == expected.get(sector);
                    assert!(is_kept, "{name}: sector {sector}");
                }
            } else {
                assert!(could_read.is_empty(), "{name}: it no longer opens");
            }
            let report = repair("disk.vmdk", &options(&stopped)).unwrap();
            assert!(report.is_clean(), "{name}: {}", lines(&report));
            assert_sound(&name, &stopped);
            assert!(
                readable(&stopped, "disk.vmdk").unwrap() == expected,
                "{name}"
            );
        }
    }
}

#[test]
fn repairs_of_sparse_disks_can_be_interrupted() {
    let good = good();
    let dirty = |image: Vec<u8>| patched(&image, &[(72, vec![1])]);
    for (name, image) in [
        ("directory", patched(&good, &[(56, vec![0; 8])])),
        ("table", with_entries(&good, &[(26, 0, 1 << 20)])),
        ("copy of the table", with_entries(&good, &[(21, 0, 5)])),
        (
            "both directories name one table",
            with_entries(&good, &[(21, 0, 27)]),
        ),
        (
            "entries",
            with_entries(&good, &[(27, 0, 3), (27, 5, 0), (22, 9, 7), (27, 16, 9)]),
        ),
        (
            "overlaps",
            with_entries(
                &good,
                &[(27, 7, 128), (22, 7, 128), (27, 8, 300), (22, 8, 300)],
            ),
        ),
        (
            "dirty overlaps",
            dirty(with_entries(&good, &[(27, 7, 128), (22, 5, 0)])),
        ),
        ("cut", good[..300 * SECTOR + 7].to_vec()),
        ("zeros", with_entries(&good, &[(27, 3, 1), (22, 3, 1)])),
        ("tail", good.iter().copied().chain([1; 99]).collect()),
    ] {
        interrupt(name, &world_of(image), false);
    }
    let lost = with_entries(&good, &[(26, 0, 1 << 20), (21, 0, 1 << 20)]);
    interrupt("lost table", &world_of(lost), true);
}

#[test]
fn repairs_of_other_files_can_be_interrupted() {
    let good = CowdImage::new(8192, 1)
        .fill(4101, 1)
        .fill(4102, 2)
        .zero(4103)
        .build();
    let damaged = with_entries(&good, &[(5, 9, 37), (5, 10, 3), (4, 0, 5)]);
    let world = World::default()
        .with("disk.vmdk", cowd_text(8192).replace("CID=00000002\n", ""))
        .with("delta", damaged)
        .with(
            "base.vmdk",
            descriptor("monolithicFlat", &["RW 8192 FLAT \"flat\" 0"]),
        )
        .with("flat", vec![0x11; 8192 * SECTOR]);
    interrupt("copy-on-write", &world, false);

    let mut content = vec![0; 700 * SECTOR];
    Numbers::new(4).fill(&mut content[..100_000]);
    let image = StreamImage::build(&content, true).bytes;
    interrupt(
        "stream",
        &world_of(image[..image.len() - 700].to_vec()),
        false,
    );
    interrupt("cut stream", &world_of(image[..80_000].to_vec()), true);
}
