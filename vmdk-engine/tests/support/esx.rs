//! The delta formats of ESX, built byte by byte from what is known of them.

use std::collections::BTreeMap;

use super::image::{MemoryGate, SECTOR, child_of, descriptor, put, put_entry};

/// The content id that `descriptor` gives a base.
pub const BASE: u32 = 0x1f2e_3d4c;

/// A COWD extent: header, directory, tables in order, grains in order.
#[derive(Clone, Debug)]
pub struct CowdImage {
    pub capacity: u32,
    pub grain: u32,
    /// Grains with their content; `None` is an entry for zeros.
    pub grains: BTreeMap<u64, Option<Vec<u8>>>,
}

impl CowdImage {
    pub fn new(capacity: u32, grain: u32) -> Self {
        Self {
            capacity,
            grain,
            grains: BTreeMap::new(),
        }
    }

    pub fn fill(mut self, grain: u64, byte: u8) -> Self {
        let bytes = usize::try_from(self.grain).unwrap() * SECTOR;
        self.grains.insert(grain, Some(vec![byte; bytes]));
        self
    }

    pub fn zero(mut self, grain: u64) -> Self {
        self.grains.insert(grain, None);
        self
    }

    fn tables(&self) -> u32 {
        self.capacity.div_ceil(4096 * self.grain)
    }

    pub fn build(&self) -> Vec<u8> {
        let directory_sectors = (self.tables() * 4).div_ceil(512);
        let mut image = vec![0; usize::try_from(4 + directory_sectors).unwrap() * SECTOR];
        let mut table_sectors: BTreeMap<u64, u64> = BTreeMap::new();
        for grain in self.grains.keys() {
            let table = grain / 4096;
            table_sectors.entry(table).or_insert_with(|| {
                let sector = u64::try_from(image.len() / SECTOR).unwrap();
                image.resize(image.len() + 32 * SECTOR, 0);
                put_entry(&mut image, 4, table, u32::try_from(sector).unwrap());
                sector
            });
        }
        for (grain, content) in &self.grains {
            let entry = match content {
                None => 1,
                Some(content) => {
                    let sector = image.len() / SECTOR;
                    image.extend(content);
                    u32::try_from(sector).unwrap()
                }
            };
            put_entry(
                &mut image,
                table_sectors[&(grain / 4096)],
                grain % 4096,
                entry,
            );
        }
        put(&mut image, 0, b"COWD");
        let free = u32::try_from(image.len() / SECTOR).unwrap();
        let fields = [1, 3, self.capacity, self.grain, 4, self.tables(), free];
        for (index, field) in fields.into_iter().enumerate() {
            put(&mut image, 4 + index * 4, &field.to_le_bytes());
        }
        image
    }
}

/// What a grain of an SESparse extent is.
#[derive(Clone, Debug)]
pub enum SeGrain {
    /// The place in the grain area, and the content.
    Data(u64, Vec<u8>),
    Zero,
    Unmapped,
}

pub const SE_DIRECTORY: u64 = 4096;
pub const SE_TABLES: u64 = 6144;
pub const SE_GRAINS: u64 = 12288;

/// An SESparse extent with the regions that ESXi gives a disk of a few GiB.
#[derive(Clone, Debug)]
pub struct SeSparseImage {
    pub capacity: u64,
    pub grains: BTreeMap<u64, SeGrain>,
}

impl SeSparseImage {
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            grains: BTreeMap::new(),
        }
    }

    pub fn fill(mut self, grain: u64, index: u64, byte: u8) -> Self {
        let data = SeGrain::Data(index, vec![byte; 8 * SECTOR]);
        self.grains.insert(grain, data);
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut image = vec![0; usize::try_from(SE_GRAINS).unwrap() * SECTOR];
        for (index, field) in [0xcafe_babe, 0x0000_0002_0000_0001, self.capacity, 8, 64, 0]
            .into_iter()
            .enumerate()
        {
            put_long(&mut image, 0, u64::try_from(index).unwrap(), field);
        }
        for (index, (offset, size)) in [
            (1, 1),
            (2, 2),
            (2048, 2048),
            (SE_DIRECTORY, 2048),
            (SE_TABLES, 2048),
            (8192, 2048),
            (10240, 2048),
            (SE_GRAINS, self.capacity),
        ]
        .into_iter()
        .enumerate()
        {
            let index = 10 + 2 * u64::try_from(index).unwrap();
            put_long(&mut image, 0, index, offset);
            put_long(&mut image, 0, index + 1, size);
        }
        put_long(&mut image, 1, 0, 0xcafe_cafe);
        put_long(&mut image, 1, 1, 1);
        put_long(&mut image, 1, 2, 0x24);
        put_long(&mut image, 2, 0, 0xdeaf_c0de);
        let mut tables: BTreeMap<u64, u64> = BTreeMap::new();
        for (grain, state) in &self.grains {
            let next = u64::try_from(tables.len()).unwrap();
            let table = *tables.entry(grain / 4096).or_insert(next);
            put_long(&mut image, SE_DIRECTORY, grain / 4096, 1 << 60 | table);
            let entry = match state {
                SeGrain::Zero => 2 << 60,
                SeGrain::Unmapped => 1 << 60 | 1 << 48,
                SeGrain::Data(index, content) => {
                    let start = usize::try_from(SE_GRAINS + index * 8).unwrap() * SECTOR;
                    if image.len() < start + content.len() {
                        image.resize(start + content.len(), 0);
                    }
                    put(&mut image, start, content);
                    3 << 60 | (index & 0xfff) << 48 | index >> 12
                }
            };
            put_long(&mut image, SE_TABLES + table * 64, grain % 4096, entry);
        }
        image
    }
}

/// Overwrites the 64-bit entry `index` of what begins in a sector.
pub fn put_long(image: &mut [u8], sector: u64, index: u64, value: u64) {
    let position = usize::try_from(sector * 512 + index * 8).unwrap();
    put(image, position, &value.to_le_bytes());
}

pub fn cowd_text(capacity: u64) -> String {
    let line = format!("RW {capacity} VMFSSPARSE \"delta\"");
    child_of(&descriptor("vmfsSparse", &[&line]), 2, BASE, "base.vmdk")
}

pub fn se_sparse_text(capacity: u64) -> String {
    let line = format!("RW {capacity} SESPARSE \"delta\"");
    child_of(&descriptor("seSparse", &[&line]), 2, BASE, "base.vmdk")
}

/// A child over a parent filled with 0x11.
pub fn over_ones(text: String, delta: Vec<u8>, capacity: u64) -> MemoryGate {
    let line = format!("RW {capacity} FLAT \"flat\" 0");
    MemoryGate::default()
        .with("child.vmdk", text)
        .with("delta", delta)
        .with("base.vmdk", descriptor("monolithicFlat", &[&line]))
        .with("flat", vec![0x11; usize::try_from(capacity).unwrap() * 512])
}
