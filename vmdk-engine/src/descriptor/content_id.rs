//! Content ids, which tell children that their parent was written, and how they change without moving anything else.

use super::{Descriptor, Patch};
use crate::random::hex;

/// The content id of "no parent".
pub(super) const NO_PARENT: u32 = u32::MAX;
/// The content id of a VMware disk that was never written.
const NEVER_WRITTEN: u32 = u32::MAX - 1;

/// Whether a content id has a meaning of its own, so that no disk gets it.
pub(crate) fn is_reserved_cid(cid: u32) -> bool {
    cid >= NEVER_WRITTEN
}

impl Descriptor {
    /// Gives the link a new content id and returns what has to change in the file, or `None` if it has no id at all.
    ///
    /// The id keeps its number of digits, and the long id its length, so that nothing else moves.
    pub(crate) fn renew_content_id(&mut self, random: [u8; 16]) -> Option<Vec<Patch>> {
        let digits = self.content_id_digits()?;
        let [a, b, c, d, long @ ..] = random;
        let id = fitting_content_id(u32::from_le_bytes([a, b, c, d]), digits, self.cid?);
        self.set_content_id(id, long)
    }

    /// How many hexadecimal digits there are for the content id.
    pub(crate) fn content_id_digits(&self) -> Option<usize> {
        Some(self.find("CID")?.value.len())
    }

    /// How many hexadecimal digits there are for that of the parent.
    pub(crate) fn parent_id_digits(&self) -> Option<usize> {
        Some(self.find("parentCID")?.value.len())
    }

    /// Gives the link this content id, which fits, and a long id that begins with `long`; see
    /// [`Self::renew_content_id`].
    pub(crate) fn set_content_id(&mut self, id: u32, long: [u8; 12]) -> Option<Vec<Patch>> {
        let place = self.find("CID")?.value.clone();
        self.cid = Some(id);
        let width = place.len();
        let mut patches = vec![Patch {
            position: place.start,
            bytes: format!("{id:0width$x}").into_bytes(),
        }];
        let long_entry = self
            .find("ddb.longContentID")
            .map(|entry| entry.value.clone());
        if let Some(place) = long_entry.filter(|place| place.len() == 32) {
            let mut text = hex(&long);
            text.push_str(&format!("{id:08x}"));
            patches.push(Patch {
                position: place.start,
                bytes: text.into_bytes(),
            });
        }
        self.apply(&patches);
        Some(patches)
    }

    /// Notes what content id the parent has now, which fits; returns what has to change in the file.
    pub(crate) fn set_parent_id(&mut self, id: u32) -> Option<Vec<Patch>> {
        let place = self.find("parentCID")?.value.clone();
        let width = place.len();
        self.parent_cid = id;
        let patches = vec![Patch {
            position: place.start,
            bytes: format!("{id:0width$x}").into_bytes(),
        }];
        self.apply(&patches);
        Some(patches)
    }
}

/// The content id nearest to `wish` that has so many digits, is neither reserved nor `old`.
pub(crate) fn fitting_content_id(wish: u32, digits: usize, old: u32) -> u32 {
    let digits = u32::try_from(digits).unwrap_or(8).min(8);
    let mask = u32::MAX >> 32_u32.saturating_sub(digits.saturating_mul(4)).min(31);
    let mut id = wish & mask;
    while id == old || is_reserved_cid(id) {
        id = id.wrapping_add(1) & mask;
    }
    id
}

#[cfg(test)]
mod tests {
    use crate::descriptor::Descriptor;

    const TEXT: &str = "version=1\nCID=1f2e3d4c\nparentCID=ffffffff\nRW 8 SPARSE \"disk.vmdk\"\n\
        ddb.longContentID = \"00112233445566778899aabb1f2e3d4c\"\nddb.future.key=\"kept\"\n";

    fn parse(text: &str) -> Descriptor {
        Descriptor::parse(text.as_bytes()).expect("valid")
    }

    #[test]
    fn a_new_content_id_moves_nothing() {
        let mut descriptor = parse(TEXT);
        let patches = descriptor
            .renew_content_id([0xab; 16])
            .expect("there is an id");
        let text = String::from_utf8(descriptor.as_bytes().to_vec()).expect("UTF-8");
        assert_eq!(
            text,
            TEXT.replace(
                "00112233445566778899aabb1f2e3d4c",
                &format!("{}abababab", "ab".repeat(12))
            )
            .replace("1f2e3d4c", "abababab")
        );
        let mut patched = TEXT.as_bytes().to_vec();
        for patch in &patches {
            patched[patch.position..][..patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        assert_eq!(patched, text.as_bytes());
        assert_eq!(parse(&text).cid(), Some(0xabab_abab));
    }

    #[test]
    fn a_short_content_id_keeps_its_width_and_reserved_ids_are_avoided() {
        let text = "version=1\nCID=abc123\nparentCID=ffffffff\nRW 1 ZERO\n";
        let mut descriptor = parse(text);
        let patches = descriptor
            .renew_content_id([0xff; 16])
            .expect("there is an id");
        assert_eq!(patches[0].bytes, b"ffffff");
        let mut descriptor = parse(&text.replace("abc123", "12345678"));
        let patches = descriptor
            .renew_content_id([0xff; 16])
            .expect("there is an id");
        assert_eq!(patches[0].bytes, b"00000000");
        let mut descriptor = parse(&text.replace("abc123", "7"));
        let patches = descriptor
            .renew_content_id([7; 16])
            .expect("there is an id");
        assert_eq!(patches[0].bytes, b"8");
    }
}
