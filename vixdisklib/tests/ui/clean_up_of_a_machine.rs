//! A clean-up is of a server, not of a machine on it.

fn clean_up(library: &vixdisklib::Library, params: &vixdisklib::ConnectParams) {
    let _ = library.cleanup(params);
}

fn main() {}
