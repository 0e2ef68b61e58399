//! vixdisklib-sys
