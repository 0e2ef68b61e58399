//! The hint that a child gets to find its parent by.

use std::path::{Component, Path, PathBuf};

/// The way from the folder of the child to the parent; just the name where both are in one folder. Where they have no
/// root in common, the parent's path as it is.
pub(crate) fn way_to(child: &Path, parent: &Path) -> PathBuf {
    let folder = child.parent().unwrap_or(Path::new(""));
    let from: Vec<Component<'_>> = folder.components().collect();
    let to: Vec<Component<'_>> = parent.components().collect();
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other);
    let shared = shared.count();
    if from.first() != to.first() && (folder.is_absolute() || parent.is_absolute()) {
        return parent.to_owned();
    }
    let up = from.iter().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.iter().skip(shared).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_as_short_as_it_can_be() {
        for (child, parent, way) in [
            ("/vm/child.vmdk", "/vm/base.vmdk", "base.vmdk"),
            ("child.vmdk", "base.vmdk", "base.vmdk"),
            ("/vm/a/child.vmdk", "/vm/b/base.vmdk", "../b/base.vmdk"),
            ("/vm/child.vmdk", "/vm/b/base.vmdk", "b/base.vmdk"),
            ("/child.vmdk", "/base.vmdk", "base.vmdk"),
            ("/a/b/c", "/d", "../../d"),
            ("a/child.vmdk", "/vm/base.vmdk", "/vm/base.vmdk"),
            ("a/child.vmdk", "b/base.vmdk", "../b/base.vmdk"),
        ] {
            assert_eq!(way_to(Path::new(child), Path::new(parent)), Path::new(way));
        }
    }
}
