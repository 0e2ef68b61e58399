//! The descriptor of a new disk, as hosted VMware products write it.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note) and descriptors of Workstation and ESX. There is no empty
//! line in front of an extent line: qemu-img 10 was observed to count such an extent twice.

use std::fmt::Write;

use super::ids::ContentId;
use super::plan::NewExtent;
use crate::info::DiskKind;

/// What a new child says of its parent.
#[derive(Clone, Debug)]
pub(crate) struct NewParent {
    pub(crate) cid: u32,
    pub(crate) hint: String,
}

/// All that goes into the text; every name and value can stand between quotes.
#[derive(Clone, Debug)]
pub(crate) struct NewText<'a> {
    pub(crate) kind: DiskKind,
    pub(crate) id: ContentId,
    pub(crate) parent: Option<NewParent>,
    pub(crate) extents: &'a [NewExtent],
    /// The disk data base without the content id; `ddb.` is not part of the keys.
    pub(crate) metadata: Vec<(String, String)>,
}

impl NewText<'_> {
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut text = String::from("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n");
        let parent_cid = self.parent.as_ref().map_or(u32::MAX, |parent| parent.cid);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "CID={:08x}\nparentCID={parent_cid:08x}\nisNativeSnapshot=\"no\"\ncreateType=\"{}\"\n",
            self.id.short(),
            self.kind.create_type()
        );
        if let Some(parent) = &self.parent {
            let _ = writeln!(text, "parentFileNameHint=\"{}\"", parent.hint);
        }
        text.push_str("\n# Extent description\n");
        for extent in self.extents {
            text.push_str(&extent.line());
            text.push('\n');
        }
        text.push_str("\n# The Disk Data Base \n#DDB\n\n");
        let mut metadata = self.metadata.clone();
        metadata.push(("longContentID".to_owned(), self.id.long()));
        metadata.sort();
        for (key, value) in metadata {
            let _ = writeln!(text, "ddb.{key} = \"{value}\"");
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use disk_units::SectorCount;

    use super::*;
    use crate::create::plan::NewFormat;
    use crate::descriptor::{ContentMark, Descriptor};

    #[test]
    fn a_base_and_a_child_read_as_hosted_products_write_them() {
        let extents = [NewExtent {
            name: "disk.vmdk".to_owned(),
            sectors: SectorCount::new(8_388_608),
            format: NewFormat::Monolithic,
        }];
        let mut text = NewText {
            kind: DiskKind::MonolithicSparse,
            id: ContentId::known(
                0x1f2e_3d4c,
                *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb",
            ),
            parent: None,
            extents: &extents,
            metadata: vec![
                ("virtualHWVersion".to_owned(), "14".to_owned()),
                ("adapterType".to_owned(), "lsilogic".to_owned()),
            ],
        };
        let base = "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=1f2e3d4c\nparentCID=ffffffff\n\
             isNativeSnapshot=\"no\"\ncreateType=\"monolithicSparse\"\n\n# Extent description\n\
             RW 8388608 SPARSE \"disk.vmdk\"\n\n# The Disk Data Base \n#DDB\n\n\
             ddb.adapterType = \"lsilogic\"\nddb.longContentID = \"00112233445566778899aabb1f2e3d4c\"\n\
             ddb.virtualHWVersion = \"14\"\n";
        assert_eq!(String::from_utf8(text.build()).expect("UTF-8"), base);
        text.parent = Some(NewParent {
            cid: 7,
            hint: "../base/disk.vmdk".to_owned(),
        });
        let child = Descriptor::parse(&text.build()).expect("valid");
        let parent = child.parent().expect("a parent");
        assert_eq!(parent.mark, ContentMark::Cid(7));
        assert_eq!(parent.hint().as_deref(), Some("../base/disk.vmdk"));
    }
}
