//! vixdisklib-open
