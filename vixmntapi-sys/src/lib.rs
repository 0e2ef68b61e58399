//! vixmntapi-sys
