//! Small disks of each format, built byte by byte: a few grains of 4 KiB, tables as close as they may lie.

use std::collections::BTreeMap;

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Sectors of a grain.
pub(crate) const GRAIN: u64 = 8;
/// The content id of what has no parent.
const BASE_CID: &str = "1f2e3d4c";

/// A descriptor text with these extent lines.
pub(crate) fn text(create_type: &str, lines: &[String]) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID={BASE_CID}\nparentCID=ffffffff\n\
         createType=\"{create_type}\"\n\n# Extent description\n{}\n\n# The Disk Data Base \n#DDB\n\n\
         ddb.adapterType = \"lsilogic\"\nddb.longContentID = \"00112233445566778899aabb{BASE_CID}\"\n",
        lines.join("\n")
    )
}

/// Makes a text that of a child of `base.vmdk`.
pub(crate) fn child(text: &str) -> String {
    text.replace(&format!("CID={BASE_CID}"), "CID=00000002")
        .replace(
            "parentCID=ffffffff",
            &format!("parentCID={BASE_CID}\nparentFileNameHint=\"base.vmdk\""),
        )
}

/// What a grain is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grain {
    /// Filled with a byte.
    Data(u8),
    /// An entry for zeros.
    Zero,
}

/// Grains by number.
pub(crate) type Grains = BTreeMap<u64, Grain>;

/// Every third grain of the first few, and one at `far`.
pub(crate) fn some_grains(far: u64) -> Grains {
    let near = [
        (0, Grain::Data(1)),
        (1, Grain::Data(2)),
        (4, Grain::Data(3)),
    ];
    near.into_iter().chain([(far, Grain::Data(4))]).collect()
}

/// A hosted sparse extent: header, text, redundant directory and tables, directory and tables, grains.
#[derive(Clone, Debug)]
pub(crate) struct Sparse {
    pub(crate) capacity: u64,
    pub(crate) version: u32,
    pub(crate) flags: u32,
    pub(crate) text: Option<String>,
    pub(crate) grains: Grains,
}

impl Sparse {
    /// An extent of a split disk.
    pub(crate) fn extent(capacity: u64, grains: Grains) -> Self {
        Self {
            capacity,
            version: 1,
            flags: 3,
            text: None,
            grains,
        }
    }

    /// A disk in one file.
    pub(crate) fn monolithic(capacity: u64, grains: Grains) -> Self {
        let line = format!("RW {capacity} SPARSE \"disk.vmdk\"");
        Self {
            text: Some(text("monolithicSparse", &[line])),
            ..Self::extent(capacity, grains)
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let tables = self.capacity.div_ceil(512 * GRAIN);
        let directory_sectors = (tables * 4).div_ceil(512);
        let text_sectors = if self.text.is_some() { 2 } else { 0 };
        let redundant = 1 + text_sectors;
        let directory = redundant + directory_sectors + 4 * tables;
        let end = (directory + directory_sectors + 4 * tables).next_multiple_of(GRAIN);
        let mut image = vec![0; len(end)];
        put(&mut image, 0, b"KDMV");
        put(&mut image, 4, &self.version.to_le_bytes());
        put(&mut image, 8, &self.flags.to_le_bytes());
        for (position, value) in [
            (12, self.capacity),
            (20, GRAIN),
            (28, u64::from(self.text.is_some())),
            (36, text_sectors),
            (48, redundant),
            (56, directory),
            (64, end),
        ] {
            put(&mut image, position, &value.to_le_bytes());
        }
        put(&mut image, 44, &512_u32.to_le_bytes());
        put(&mut image, 73, b"\n \r\n");
        if let Some(text) = &self.text {
            put(&mut image, SECTOR, text.as_bytes());
        }
        for start in [redundant, directory] {
            for table in 0..tables {
                let entry = start + directory_sectors + 4 * table;
                put_entry(&mut image, start, table, entry);
            }
        }
        for (grain, content) in &self.grains {
            let entry = place(&mut image, *content, GRAIN);
            for start in [redundant, directory] {
                put_entry(&mut image, start + directory_sectors, *grain, entry);
            }
        }
        image
    }
}

/// An ESX copy-on-write extent.
pub(crate) fn cowd(capacity: u32, grain: u32, grains: &Grains) -> Vec<u8> {
    let tables = capacity.div_ceil(4096 * grain);
    let directory_sectors = u64::from((tables * 4).div_ceil(512));
    let mut image = vec![0; len(4 + directory_sectors)];
    let mut starts = BTreeMap::new();
    for (number, content) in grains {
        let table = number / 4096;
        let start = *starts.entry(table).or_insert_with(|| {
            let start = sectors(&image);
            image.resize(image.len() + 32 * SECTOR, 0);
            put_entry(&mut image, 4, table, start);
            start
        });
        let entry = place(&mut image, *content, u64::from(grain));
        put_entry(&mut image, start, number % 4096, entry);
    }
    put(&mut image, 0, b"COWD");
    let free = u32::try_from(sectors(&image)).expect("a small file");
    let fields = [1, 3, capacity, grain, 4, tables, free];
    for (index, field) in fields.into_iter().enumerate() {
        put(&mut image, 4 + index * 4, &field.to_le_bytes());
    }
    image
}

/// The geometry that the header of a base has.
pub(crate) const GEOMETRY: [u8; 12] = [8, 0, 0, 0, 16, 0, 0, 0, 63, 0, 0, 0];

/// A COWD file that says in its header what there is no descriptor for: its geometry, or its parent's name and
/// generation, and its own generation, which in a child is larger by 13.
pub(crate) fn bare(mut image: Vec<u8>, name: &[u8], generation: u32) -> Vec<u8> {
    put(&mut image, 32, name);
    let is_base = name == GEOMETRY;
    let (own, parent) = if is_base {
        (generation, 0)
    } else {
        (generation + 13, generation)
    };
    put(&mut image, 1056, &parent.to_le_bytes());
    put(&mut image, 1060, &own.to_le_bytes());
    image
}

/// A space-efficient sparse extent, its regions as small as they may be.
pub(crate) fn se_sparse(capacity: u64, grains: &Grains) -> Vec<u8> {
    const DIRECTORY: u64 = 4;
    const TABLES: u64 = 5;
    let tables = grains.keys().map(|grain| grain / 4096).max().unwrap_or(0) + 1;
    let behind = TABLES + 64 * tables;
    let start = behind + 2;
    let mut image = vec![0; len(start)];
    let mut put_long = |sector: u64, index: u64, value: u64| {
        let position = len(sector) + usize::try_from(index * 8).expect("a small file");
        put(&mut image, position, &value.to_le_bytes());
    };
    for (index, field) in (0..).zip([0xcafe_babe, 0x2_0000_0001, capacity, 8, 64, 0]) {
        put_long(0, index, field);
    }
    let regions = [
        (1, 1),
        (2, 1),
        (3, 1),
        (DIRECTORY, 1),
        (TABLES, 64 * tables),
        (behind, 1),
        (behind + 1, 1),
        (start, capacity),
    ];
    for (index, (offset, size)) in (5..).zip(regions) {
        put_long(0, 2 * index, offset);
        put_long(0, 2 * index + 1, size);
    }
    put_long(1, 0, 0xcafe_cafe);
    put_long(1, 1, 1);
    put_long(2, 0, 0xdeaf_c0de);
    for table in 0..tables {
        put_long(DIRECTORY, table, 1 << 60 | table);
    }
    let mut next = 0_u64;
    for (number, content) in grains {
        let entry = match content {
            Grain::Zero => 2 << 60,
            Grain::Data(_) => {
                next += 1;
                3 << 60 | (next - 1) << 48
            }
        };
        put_long(TABLES + number / 4096 * 64, number % 4096, entry);
    }
    for content in grains.values() {
        if let Grain::Data(byte) = content {
            image.extend([*byte; 4096]);
        }
    }
    image
}

/// A stream-optimised extent that is written front to back.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    image: Vec<u8>,
    /// Where the records of the table under way begin.
    records: Vec<u32>,
    directory: Vec<u32>,
}

impl Stream {
    pub(crate) fn new(capacity: u64) -> Self {
        let mut image = vec![0; 3 * SECTOR];
        let line = format!("RDONLY {capacity} SPARSE \"disk.vmdk\"");
        put(&mut image, 0, b"KDMV");
        put(&mut image, 4, &3_u32.to_le_bytes());
        put(&mut image, 8, &0x3_0001_u32.to_le_bytes());
        for (position, value) in [(12, capacity), (20, GRAIN), (28, 1), (36, 2), (64, 3)] {
            put(&mut image, position, &value.to_le_bytes());
        }
        put(&mut image, 44, &512_u32.to_le_bytes());
        put(&mut image, 56, &u64::MAX.to_le_bytes());
        put(&mut image, 73, b"\n \r\n");
        put(&mut image, 77, &1_u16.to_le_bytes());
        put(
            &mut image,
            SECTOR,
            text("streamOptimized", &[line]).as_bytes(),
        );
        Self {
            image,
            records: Vec::new(),
            directory: Vec::new(),
        }
    }

    /// A record of compressed bytes for a grain, entered in the table under way.
    pub(crate) fn record(&mut self, grain: u64, compressed: &[u8]) {
        let index = usize::try_from(grain % 512).expect("under 512");
        if self.records.len() <= index {
            self.records.resize(index + 1, 0);
        }
        self.records[index] = u32::try_from(sectors(&self.image)).expect("a small file");
        self.image.extend((grain * GRAIN).to_le_bytes());
        let size = u32::try_from(compressed.len()).expect("a small record");
        self.image.extend(size.to_le_bytes());
        self.raw(compressed);
    }

    /// Bytes as they are, up to the next sector.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.image.extend(bytes);
        let whole = self.image.len().next_multiple_of(SECTOR);
        self.image.resize(whole, 0);
    }

    pub(crate) fn marker(&mut self, sectors: u64, kind: u32) {
        self.image.extend(sectors.to_le_bytes());
        self.image.extend(0_u32.to_le_bytes());
        self.raw(&kind.to_le_bytes());
    }

    /// The table of the records since the last one.
    pub(crate) fn table(&mut self) {
        self.marker(4, 1);
        let start = u32::try_from(sectors(&self.image)).expect("a small file");
        self.directory.push(start);
        let mut entries = std::mem::take(&mut self.records);
        entries.resize(512, 0);
        self.entries(&entries);
    }

    /// A table without records has no place.
    pub(crate) fn no_table(&mut self) {
        self.directory.push(0);
    }

    fn entries(&mut self, entries: &[u32]) {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect();
        self.raw(&bytes);
    }

    /// The directory, the footer and the end of the stream.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let directory = std::mem::take(&mut self.directory);
        let length = u64::try_from(directory.len() * 4).expect("small");
        self.marker(length.div_ceil(512), 2);
        let start = sectors(&self.image);
        self.entries(&directory);
        self.marker(1, 3);
        let mut footer = self.image[..SECTOR].to_vec();
        put(&mut footer, 56, &start.to_le_bytes());
        self.raw(&footer);
        self.raw(&[0; SECTOR]);
        self.image
    }

    /// The bytes so far.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.image
    }
}

/// A zlib stream of one stored block (RFC 1950, RFC 1951); `bytes` has under 64 KiB.
pub(crate) fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("under 64 KiB");
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(bytes);
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65521;
        high = (high + low) % 65521;
    }
    let mut checksum = (high << 16 | low).to_le_bytes();
    checksum.reverse();
    stream.extend(checksum);
    stream
}

/// The bytes of sectors.
fn len(sectors: u64) -> usize {
    usize::try_from(sectors).expect("a small file") * SECTOR
}

fn sectors(image: &[u8]) -> u64 {
    u64::try_from(image.len() / SECTOR).expect("64 bits")
}

/// Appends a grain; returns its entry.
fn place(image: &mut Vec<u8>, grain: Grain, size: u64) -> u64 {
    match grain {
        Grain::Zero => 1,
        Grain::Data(byte) => {
            let entry = sectors(image);
            image.resize(image.len() + len(size), byte);
            entry
        }
    }
}

fn put(image: &mut [u8], position: usize, bytes: &[u8]) {
    image[position..position + bytes.len()].copy_from_slice(bytes);
}

/// Overwrites entry `index` of the directory or table that begins in a sector.
fn put_entry(image: &mut [u8], sector: u64, index: u64, entry: u64) {
    let entry = u32::try_from(entry).expect("a small file");
    let position = len(sector) + usize::try_from(index * 4).expect("a small table");
    put(image, position, &entry.to_le_bytes());
}
