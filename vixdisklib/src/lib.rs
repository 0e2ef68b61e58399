//! vixdisklib
