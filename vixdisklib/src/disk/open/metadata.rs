//! Metadata: the sizing protocol of the library, turned into strings.

use std::ffi::{CStr, c_char};
use std::ptr;

use vixdisklib_sys::{VixDiskLibHandle, VixError};

use super::OpenDisk;
use crate::error::{Context, Error, ErrorKind, Operation, Result};
use crate::params;

/// More than any database entry: a larger answer is refused rather than allocated.
const LONGEST: usize = 16 << 20;

impl OpenDisk {
    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>> {
        let with_key = |error: Error| error.with_context(Context::Key(key.to_owned()));
        let read = self.api.table.read_metadata.ok_or_else(no_such_call)?;
        let name = params::text("the key", key).map_err(with_key)?;
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
            Err(error) => Err(with_key(error)),
        }
    }

    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>> {
        let list = self.api.table.get_metadata_keys.ok_or_else(no_such_call)?;
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

fn no_such_call() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        Operation::Metadata,
        "the library has no such call",
    )
}

fn first_string(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map_or_else(
        |_| String::new(),
        |text| text.to_string_lossy().into_owned(),
    )
}
