//! Clients for the fuzzer to begin with.

/// Sessions of well-behaved clients, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("simple", simple()),
        ("export_name", export_name()),
        ("structured", chunks(0, 0, false)),
        ("extended", chunks(0, 0, true)),
        ("parallel", chunks(8, 0, true)),
        ("small_packets", chunks(2, 7, false)),
        ("read_only", chunks(1, 0, true)),
        ("encrypted", encrypted()),
        ("options", options()),
    ]
}

/// A session that is being written.
struct Session {
    bytes: Vec<u8>,
    extended: bool,
    cookie: u64,
}

impl Session {
    fn new(setting: u8, packet: u8) -> Self {
        Self {
            bytes: vec![setting, packet, 0, 0, 0, 3],
            extended: false,
            cookie: 0,
        }
    }

    fn put(&mut self, number: u64, length: usize) {
        for place in (0..length).rev() {
            let byte = number >> (8 * place) & 0xff;
            self.bytes.push(u8::try_from(byte).expect("a byte"));
        }
    }

    fn text(&mut self, text: &str) {
        self.put(u64::try_from(text.len()).expect("short"), 4);
        self.bytes.extend(text.as_bytes());
    }

    fn option(&mut self, option: u64, data: impl FnOnce(&mut Self)) {
        self.bytes.extend(b"IHAVEOPT");
        self.put(option, 4);
        let place = self.bytes.len();
        self.put(0, 4);
        data(self);
        let length = self.bytes.len() - place - 4;
        self.bytes[place + 2] = u8::try_from(length >> 8).expect("short");
        self.bytes[place + 3] = u8::try_from(length & 0xff).expect("a byte");
    }

    fn go(&mut self, option: u64) {
        self.option(option, |session| {
            session.text("disk");
            session.put(2, 2);
            session.put(3, 2);
            session.put(1, 2);
        });
    }

    fn contexts(&mut self, option: u64, queries: &[&str]) {
        self.option(option, |session| {
            session.text("disk");
            session.put(u64::try_from(queries.len()).expect("few"), 4);
            queries.iter().for_each(|query| session.text(query));
        });
    }

    fn request(&mut self, flags: u64, command: u64, offset: u64, length: u64, payload: &[u8]) {
        let (magic, size) = if self.extended {
            (0x21e4_1c71, 8)
        } else {
            (0x2560_9513, 4)
        };
        self.cookie += 1;
        self.put(magic, 4);
        self.put(flags, 2);
        self.put(command, 2);
        self.put(self.cookie, 8);
        self.put(offset, 8);
        self.put(length, size);
        self.bytes.extend(payload);
    }

    /// Something of everything.
    fn requests(&mut self) {
        let carries = if self.extended { 32 } else { 0 };
        self.request(0, 0, 0, 16_384, &[]);
        self.request(4, 0, 4000, 9000, &[]);
        self.request(1 | carries, 1, 5000, 10, b"0123456789");
        self.request(0, 0, 4999, 12, &[]);
        self.request(2, 6, 100, 5000, &[]);
        self.request(16, 6, 512, 512, &[]);
        self.request(0, 4, 8192, 4096, &[]);
        self.request(0, 3, 0, 0, &[]);
        self.request(0, 5, 0, 40_000, &[]);
        self.request(0, 7, 0, 40_001, &[]);
        self.request(8, 7, 4096, 9999, &[]);
        self.request(0, 0, 40_000, 2, &[]);
        if self.extended {
            let payload = b"\0\0\0\0\0\0\x10\0\0\0\0\x01";
            self.request(32, 7, 0, 12, payload);
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.request(0, 2, 0, 0, &[]);
        self.bytes
    }
}

fn simple() -> Vec<u8> {
    let mut session = Session::new(0, 0);
    session.go(7);
    session.requests();
    session.end()
}

fn export_name() -> Vec<u8> {
    let mut session = Session::new(0, 0);
    session.option(1, |session| session.bytes.extend(b"disk"));
    session.requests();
    session.end()
}

fn chunks(setting: u8, packet: u8, extended: bool) -> Vec<u8> {
    let mut session = Session::new(setting, packet);
    session.option(if extended { 11 } else { 8 }, |_| {});
    session.extended = extended;
    session.contexts(
        10,
        &["base:allocation", "x-fuzz:blocks", "qemu:allocation-depth"],
    );
    session.go(6);
    session.go(7);
    session.requests();
    session.end()
}

/// Packets end where TLS begins.
fn encrypted() -> Vec<u8> {
    let mut session = Session::new(4, 20);
    session.option(5, |_| {});
    session.option(8, |_| {});
    session.go(7);
    session.requests();
    session.end()
}

fn options() -> Vec<u8> {
    let mut session = Session::new(4, 0);
    session.option(3, |_| {});
    session.option(8, |_| {});
    session.contexts(9, &[]);
    session.contexts(9, &["qemu:", "base:"]);
    session.contexts(10, &["nobody:knows"]);
    session.option(11, |_| {});
    session.option(8, |_| {});
    session.option(99, |session| session.bytes.extend(b"whatever"));
    session.option(2, |_| {});
    session.bytes
}
