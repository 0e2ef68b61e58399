//! Metadata: the sizing protocol of the library, turned into strings.

use std::ffi::{CStr, c_char};
use std::ptr;

use vixdisklib_sys::{VixDiskLibHandle, VixError};

use super::OpenDisk;
use crate::api::required;
use crate::error::{Context, Error, ErrorKind, Operation, Result};
use crate::params;

/// More than any database entry: a larger answer is refused rather than allocated.
const LONGEST: usize = 16 << 20;

impl OpenDisk {
    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>> {
        let failed = |error: Error| self.about_key(key, error);
        let read = required(Operation::Metadata, self.api.table.read_metadata).map_err(failed)?;
        let name = params::text("the key", key).map_err(failed)?;
        let value = self.sized(|handle, buf, length, required| {
            // SAFETY: the handle is open; the key is a C string; `buf` is null or writable for `length` bytes.
            unsafe { read(handle, name.as_ptr(), buf, length, required) }
        });
        match value {
            Ok(bytes) => Ok(Some(first_string(&bytes))),
            Err(error)
                if error
                    .code()
                    .is_some_and(|code| code.code() == VixError::DISK_KEY_NOTFOUND.code()) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>> {
        let list = required(Operation::Metadata, self.api.table.get_metadata_keys)
            .map_err(|error| self.facts.locate(error))?;
        let keys = self.sized(|handle, buf, length, required| {
            // SAFETY: the handle is open; `buf` is null or writable for `length` bytes.
            unsafe { list(handle, buf, length, required) }
        })?;
        let names = keys
            .split(|byte| *byte == 0)
            .take_while(|name| !name.is_empty());
        Ok(names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }

    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Result<()> {
        let operation = Operation::WriteMetadata;
        let failed = |error: Error| self.about_key(key, error);
        let refused = |kind, text: &str| Err(failed(Error::new(kind, operation, text)));
        let write = required(operation, self.api.table.write_metadata).map_err(failed)?;
        if self.facts.is_read_only() {
            return refused(ErrorKind::ReadOnly, "the disk is open for reading only");
        }
        if key.is_empty() {
            return refused(ErrorKind::InvalidArgument, "the key is empty");
        }
        // They would end the line of the descriptor that holds the entry.
        if [key, value].concat().contains(char::is_control) {
            let text = "neither key nor value may hold control characters";
            return refused(ErrorKind::InvalidArgument, text);
        }
        let name = params::text("the key", key).map_err(failed)?;
        let value = params::text("the value", value).map_err(failed)?;
        self.call(operation, |handle| {
            // SAFETY: the handle is open, key and value are C strings.
            unsafe { write(handle, name.as_ptr(), value.as_ptr()) }
        })
        .map_err(failed)
    }

    fn about_key(&self, key: &str, error: Error) -> Error {
        self.facts
            .locate(error)
            .with_context(Context::Key(key.to_owned()))
    }

    /// Asks for the size, then for the content.
    fn sized(
        &self,
        call: impl Fn(VixDiskLibHandle, *mut c_char, usize, *mut usize) -> VixError,
    ) -> Result<Vec<u8>> {
        let mut required = 0;
        self.call(Operation::Metadata, |handle| {
            // Without a buffer the answer is "too small", or from some libraries "fine".
            let code = call(handle, ptr::null_mut(), 0, &raw mut required);
            if code.code() == VixError::BUFFER_TOOSMALL.code() {
                VixError::OK
            } else {
                code
            }
        })?;
        if required > LONGEST {
            let text = format!("the library wants {required} bytes for an answer");
            let error = Error::new(ErrorKind::Other, Operation::Metadata, text);
            return Err(self.facts.locate(error));
        }
        // One more byte, so that a library that forgets the end cannot leave the string open.
        let mut bytes = vec![0; required + 1];
        self.call(Operation::Metadata, |handle| {
            call(
                handle,
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &raw mut required,
            )
        })?;
        Ok(bytes)
    }
}

fn first_string(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map_or_else(
        |_| String::new(),
        |text| text.to_string_lossy().into_owned(),
    )
}
