//! Small disks for the fuzzer to begin with.

use crate::Target;
use crate::image::{
    GEOMETRY, Grain, Grains, Sparse, bare, child, cowd, se_sparse, some_grains, stored, text,
};
use crate::target::{pack, stream_of};

/// 4 KiB of sevens, compressed with zlib 1.2.13 at level 9.
const SEVENS: [u8; 27] = [
    0x78, 0xda, 0xed, 0xc1, 0x31, 0x0d, 0x00, 0x00, 0x00, 0xc3, 0xa0, 0xb3, 0xfe, 0x1d, 0xcf, 0xc7,
    0x02, 0x14, 0x00, 0x00, 0x00, 0xf0, 0x6e, 0x7c, 0x80, 0x70, 0x01,
];

/// The seeds of a target, by name.
#[must_use]
pub fn seeds(target: Target) -> Vec<(&'static str, Vec<u8>)> {
    match target {
        Target::Descriptor => descriptors(),
        Target::Sparse => vec![
            ("extent", Sparse::extent(8192, some_grains(600)).build()),
            (
                "monolithic",
                Sparse::monolithic(100, some_grains(12)).build(),
            ),
            ("empty", Sparse::extent(1, Grains::new()).build()),
            ("zeroed", zeroed().build()),
            ("unclean", unclean()),
            ("without_tables", without_tables()),
        ],
        Target::Cowd => vec![
            ("one_sector", cowd(8192, 1, &with_zero(some_grains(4100)))),
            ("large_grains", cowd(40_000, 8, &some_grains(4200))),
            ("empty", cowd(128, 1, &Grains::new())),
            (
                "bare_base",
                bare(cowd(8192, 1, &some_grains(40)), &GEOMETRY, 7),
            ),
            (
                "bare_child",
                bare(cowd(8192, 1, &with_zero(some_grains(50))), b"base.vmdk", 7),
            ),
        ],
        Target::SeSparse => vec![
            ("near", se_sparse(1000, &with_zero(some_grains(60)))),
            ("two_tables", se_sparse(65_536, &some_grains(5000))),
            ("empty", se_sparse(100, &Grains::new())),
        ],
        Target::Stream => streams(),
        Target::OpenAnything => disks(),
    }
}

fn with_zero(mut grains: Grains) -> Grains {
    grains.insert(6, Grain::Zero);
    grains
}

/// Version 2, with entries for zeros.
fn zeroed() -> Sparse {
    Sparse {
        version: 2,
        flags: 7,
        ..Sparse::extent(300, with_zero(some_grains(30)))
    }
}

/// What a crash leaves: the dirty byte, and a redundant table that is behind.
fn unclean() -> Vec<u8> {
    let mut image = Sparse::extent(300, some_grains(30)).build();
    image[72] = 1;
    image[2 * 512..2 * 512 + 8].fill(0);
    image
}

fn without_tables() -> Vec<u8> {
    let mut image = Sparse::extent(8192, Grains::new()).build();
    // The directories follow the header, and eight sectors of redundant tables.
    for directory in [1, 10] {
        image[directory * 512..directory * 512 + 8].fill(0);
    }
    image
}

fn descriptors() -> Vec<(&'static str, Vec<u8>)> {
    let of = |create_type: &str, lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        text(create_type, &lines)
    };
    let mixed = [
        "RW 64 FLAT \"flat\" 32",
        "RW 7 ZERO",
        "RW 128 SPARSE \"sparse\"",
        "NOACCESS 3 FLAT \"gone\" 0",
        "RDONLY 128 VMFSSPARSE \"cowd\"",
        "RW 128 SESPARSE \"sesparse\"",
    ];
    let cut = of("custom", &["RW 128 SPARSE \"sparse\""]).replace("# Disk", "#");
    let texts = [
        ("flat", of("monolithicFlat", &["RW 128 FLAT \"flat\" 0"])),
        (
            "thin",
            of("vmfs", &["RW 128 VMFS \"flat\""]) + "ddb.thinProvisioned = \"1\"\n",
        ),
        ("mixed", of("custom", &mixed)),
        (
            "child",
            child(&of("monolithicSparse", &["RW 128 SPARSE \"sparse\""])),
        ),
        (
            "delta",
            child(&of("vmfsSparse", &["RW 128 VMFSSPARSE \"cowd\""])),
        ),
        (
            "carriage_returns",
            of("custom", &["RW 128 FLAT \"flat\" 0"]).replace('\n', "\r\n"),
        ),
        (
            "other_charset",
            of("custom", &["RW 128 FLAT \"flat\" 0"]).replace("UTF-8", "windows-1252"),
        ),
        ("few_comments", cut),
    ];
    texts
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

/// Scripts, and the streams that they make.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let sevens = |grain: u8| {
        let mut step = vec![1, grain, 27];
        step.extend(SEVENS);
        step
    };
    let plain = [
        &[9][..],
        &[0, 0, 5, 0],
        &[0, 3, 6, 0],
        &sevens(7),
        &[0, 9, 8, 5],
    ]
    .concat();
    let gaps = [&[40][..], &[0, 0, 5, 0, 3], &[2, 0, 3], &[0, 39, 6, 0]].concat();
    let odd = [&[3][..], &[0, 0, 5, 19], &[0, 1, 5, 3], &[1, 2, 3, 1, 2, 3]].concat();
    let cut = [&[9][..], &sevens(2), &[6]].concat();
    vec![
        ("stream", stream_of(&plain)),
        ("script", plain),
        ("markers", stream_of(&gaps)),
        ("script_markers", gaps),
        ("script_odd_lengths", odd),
        ("script_cut", cut),
        ("record", stored(&[7; 100])),
    ]
}

fn disks() -> Vec<(&'static str, Vec<u8>)> {
    let line = |line: &str| vec![line.to_owned()];
    let sparse = Sparse::monolithic(100, some_grains(12));
    let child_text = child(sparse.text.as_deref().expect("it was given one"));
    let child_sparse = Sparse {
        text: Some(child_text),
        ..Sparse::monolithic(100, with_zero(some_grains(10)))
    };
    let flat = || text("monolithicFlat", &line("RW 100 FLAT \"flat\" 0")).into_bytes();
    let delta = |create_type, extent: &str| {
        child(&text(create_type, &line(&format!("RW 100 {extent}")))).into_bytes()
    };
    let split = [
        "RW 64 SPARSE \"s001\"".to_owned(),
        "RW 36 SPARSE \"s002\"".to_owned(),
    ];
    vec![
        ("flat", pack(&[("d", flat()), ("flat", vec![1; 51_200])])),
        (
            "split",
            pack(&[
                ("d", text("twoGbMaxExtentSparse", &split).into_bytes()),
                ("s001", Sparse::extent(64, some_grains(6)).build()),
                ("s002", Sparse::extent(36, some_grains(2)).build()),
            ]),
        ),
        (
            "chain",
            pack(&[("d", child_sparse.build()), ("base.vmdk", sparse.build())]),
        ),
        ("chain_without_parent", pack(&[("d", child_sparse.build())])),
        (
            "delta_over_flat",
            pack(&[
                ("d", delta("vmfsSparse", "VMFSSPARSE \"delta\"")),
                ("delta", cowd(100, 1, &with_zero(some_grains(60)))),
                ("base.vmdk", flat()),
                ("flat", vec![1; 51_200]),
            ]),
        ),
        (
            "sesparse_over_stream",
            pack(&[
                (
                    "d",
                    child(&text("seSparse", &line("RW 77 SESPARSE \"delta\""))).into_bytes(),
                ),
                ("delta", se_sparse(77, &with_zero(some_grains(9)))),
                (
                    "base.vmdk",
                    stream_of(&[9, 0, 0, 5, 0, 0, 3, 6, 0, 0, 9, 8, 5]),
                ),
            ]),
        ),
    ]
}
