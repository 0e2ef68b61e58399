//! Which machine this is, as lock files name it.
//!
//! Sixteen characters of base64 for twelve bytes: four of the host's name and eight that identify the machine, which
//! alone are compared. How VMware makes the eight is not public, so ours are our own: to VMware products our locks are
//! those of another machine, and theirs are to us, which are never taken for stale.

use std::fs;
use std::sync::OnceLock;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

/// Processes are numbered anew in each of their name spaces. This is the first one, the same on every machine.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// The machine id of this machine.
pub(super) fn own() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let host = read("/proc/sys/kernel/hostname");
        // A machine without an id of its own is another one after each start: its old locks must be removed by hand.
        let id = Some(read("/etc/machine-id"))
            .filter(|id| id.trim().len() >= 32)
            .unwrap_or_else(|| read("/proc/sys/kernel/random/boot_id"));
        let namespace = fs::read_link("/proc/self/ns/pid")
            .map(|link| link.to_string_lossy().into_owned())
            .ok()
            .filter(|namespace| namespace != FIRST_NAMESPACE)
            .unwrap_or_default();
        from_parts(host.trim(), id.trim(), &namespace)
    })
}

/// Machines that were copied with their id still differ in their name, and containers in where they number processes.
fn from_parts(host: &str, id: &str, namespace: &str) -> String {
    let [name @ .., _, _, _, _] = hash(&[host]).to_le_bytes();
    let machine = hash(&[id, host, namespace]).to_le_bytes();
    let mut bytes = [0; 12];
    let parts = name.iter().chain(&machine);
    for (byte, part) in bytes.iter_mut().zip(parts) {
        *byte = *part;
    }
    encode(bytes)
}

/// Whether two machine ids name one machine.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let identity = |id: &str| {
        decode(id).map(|bytes| {
            let [_, _, _, _, machine @ ..] = bytes;
            machine
        })
    };
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// FNV-1a: it must be the same in every version.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn encode(bytes: [u8; 12]) -> String {
    let (triples, _) = bytes.as_chunks::<3>();
    triples
        .iter()
        .flat_map(|[one, two, three]| {
            let bits = u32::from(*one) << 16 | u32::from(*two) << 8 | u32::from(*three);
            [18, 12, 6, 0].map(|shift| {
                let index = usize::try_from(bits >> shift & 63).unwrap_or(0);
                ALPHABET.get(index).map_or('A', |byte| char::from(*byte))
            })
        })
        .collect()
}

fn decode(text: &str) -> Option<[u8; 12]> {
    let mut bytes = [0; 12];
    if text.len() != 16 {
        return None;
    }
    let (quads, _) = text.as_bytes().as_chunks::<4>();
    let (triples, _) = bytes.as_chunks_mut::<3>();
    for (triple, quad) in triples.iter_mut().zip(quads) {
        let mut bits: u32 = 0;
        for byte in quad {
            let value = ALPHABET.iter().position(|known| known == byte)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let [three, two, one, _] = bits.to_le_bytes();
        *triple = [one, two, three];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_characters_and_compare_by_the_machine() {
        assert_eq!(own().len(), 16);
        assert!(
            own()
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/')
        );
        let bytes = [0xff, 0, 1, 2, 0x80, 4, 0xfe, 6, 7, 8, 9, 10];
        assert_eq!(decode(&encode(bytes)), Some(bytes));
        let mut renamed = bytes;
        renamed[0] = 1;
        assert!(is_same(&encode(bytes), &encode(renamed)));
        renamed[11] = 1;
        assert!(!is_same(&encode(bytes), &encode(renamed)));
        assert!(is_same("uuid=564d-1", "uuid=564d-1"));
        assert!(!is_same("uuid=564d-1", own()));
        assert_eq!(encode([0; 12]), "AAAAAAAAAAAAAAAA");
        assert_eq!(encode([0xff; 12]), "----------------");
    }

    #[test]
    fn containers_and_copied_machines_are_other_machines() {
        let one = from_parts("host", "0123", "");
        assert!(is_same(&one, &from_parts("host", "0123", "")));
        assert!(!is_same(&one, &from_parts("host2", "0123", "")));
        assert!(!is_same(
            &one,
            &from_parts("host", "0123", "pid:[4026532000]")
        ));
        assert!(!is_same(&one, &from_parts("host", "0124", "")));
    }
}
