//! vmdk-engine
