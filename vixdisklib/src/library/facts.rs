//! What is known of a library itself: for reports, and for programs that ask before they begin.

use std::path::Path;

use super::Library;

impl Library {
    /// The file that was loaded, with no symbolic link left; none for the embedded engine, which is part of the
    /// program.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The numbers of its release, such as 8, 0 and 3, as far as the name of its file tells them; none for the
    /// embedded engine.
    #[must_use]
    pub fn release(&self) -> &[u32] {
        &self.0.release
    }

    /// The C functions that the library has, of those that this crate knows, in the order of the headers.
    ///
    /// ```
    /// let library = vixdisklib::Library::embedded()?;
    /// assert!(library.functions().any(|name| name == "VixDiskLib_QueryAllocatedBlocks"));
    /// assert_eq!(library.file(), None);
    /// # Ok::<(), vixdisklib::Error>(())
    /// ```
    pub fn functions(&self) -> impl Iterator<Item = &'static str> {
        self.0.plain.table.present().map(|symbol| symbol.name)
    }
}
