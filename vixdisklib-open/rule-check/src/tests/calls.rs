//! What calls are given: pointers, handles, connections, paths.

use std::ptr;

use super::caller::{CAPACITY, Caller, Connection, Disk};
use super::rule;
use crate::rule::Rule;
use crate::table::TABLE;

rule! { NullArgument null_argument
    broken |caller| {
        caller.with_disk(|disk| {
            // SAFETY: our engine refuses null.
            unsafe { (TABLE.get_info)(disk.raw(), ptr::null_mut()) };
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            // A buffer may be null where its length is asked for.
            let keys = TABLE.get_metadata_keys.expect("there");
            let mut required = 0;
            // SAFETY: an output of ours.
            unsafe { keys(disk.raw(), ptr::null_mut(), 0, &raw mut required) };
            assert!(required > 0);
            // SAFETY: null is allowed.
            unsafe { (TABLE.free_info)(ptr::null_mut()) };
        });
    }
}

rule! { ForeignHandle foreign_handle
    broken |caller| {
        caller.init();
        caller.read(Disk::invented(0x1234), 0, 1);
        caller.exit();
    }
    kept |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, 0, 1);
        });
    }
}

rule! { DeadHandle dead_handle
    broken |caller| {
        caller.with_disk(|disk| {
            caller.close(disk);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            caller.read(disk, 0, CAPACITY);
        });
    }
}

rule! { ForeignConnection foreign_connection
    broken |caller| {
        caller.init();
        caller.disconnect(Connection::invented(0));
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        caller.disconnect(connection);
        caller.exit();
    }
}

rule! { DeadConnection dead_connection
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        caller.disconnect(connection);
        caller.open_nothing(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let (one, other) = (caller.connect(), caller.connect());
        caller.disconnect(one);
        caller.open_nothing(other);
        caller.disconnect(other);
        caller.exit();
    }
}

rule! { DisconnectOpenDisks disconnect_open_disks
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        caller.open(connection);
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let (one, other) = (caller.connect(), caller.connect());
        let disk = caller.open(one);
        caller.disconnect(other);
        caller.close(disk);
        caller.disconnect(one);
        caller.exit();
    }
}

rule! { RelativePath relative_path
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let mut disk = ptr::null_mut();
        let path = c"no/such/disk.vmdk";
        // SAFETY: a string and an output of ours.
        unsafe { (TABLE.open)(connection.raw(), path.as_ptr(), 0, &raw mut disk) };
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        caller.open_nothing(connection);
        caller.disconnect(connection);
        caller.exit();
    }
}
