//! What hosts insist on, or what nobody has seen them accept: clients that do otherwise are refused.

mod common;

use std::io::IoSlice;
use std::time::Duration;

use common::Demo;
use vsphere_nfc::wire::aio::{
    FILE_TYPE_DISK, FileOpened, HEADER, Header, Io, OpenFile, OpenFlags, OpenSession, Reply,
    Request,
};
use vsphere_nfc::wire::classic::{FRAME, Frame};
use vsphere_nfc::{ByteStream, Dial, Dialed, Transport};
use vsphere_sim::Profile;
use vsphere_sim::fuzzing::Target;

/// A client that says what a test tells it, behind the daemon.
struct Client {
    stream: Box<dyn ByteStream>,
    tag: Frame,
    operation: u32,
}

impl Client {
    fn new(demo: &Demo) -> Self {
        let host = demo.login().expect("logged in");
        let dialer = demo.dialer(&host, &demo.idle(), Transport::Nbd, true);
        let Dialed { stream, tag, .. } = dialer.dial().expect("let in");
        let patience = Some(Duration::from_secs(20));
        stream.set_timeouts(patience, patience).expect("a socket");
        Self {
            stream,
            tag: Frame::ClientRandom(tag.expect("the daemon was told one")),
            operation: 0,
        }
    }

    /// All frames of the handshake, in their order.
    fn frames(&self) -> Vec<Frame> {
        vec![
            self.tag.clone(),
            Frame::Probe,
            Frame::Version {
                version: 11,
                second: 0,
            },
            Frame::Connection {
                name: 4,
                operation: 7,
            },
            Frame::Features(3),
            Frame::OpenAio,
        ]
    }

    /// Sends frames, and gives the numbers of those that are answered up to the last that the host sends.
    fn shake_hands(&self, frames: &[Frame]) -> Vec<u32> {
        for frame in frames {
            self.send(&frame.encode());
            if let Frame::Connection { .. } = frame {
                self.send(b"vddknbdmode");
            }
        }
        let mut answers = Vec::new();
        while !matches!(answers.last(), Some(4 | 52)) {
            let Some(bytes) = self.receive(FRAME) else {
                break;
            };
            let frame = bytes.as_slice().try_into().expect("a whole one");
            answers.push(Frame::decode(frame).expect("a frame").number());
        }
        answers
    }

    fn send(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // Whoever was refused hears of it in the answer.
            let Ok(count) = self.stream.write_vectored(&[IoSlice::new(bytes)]) else {
                return;
            };
            bytes = &bytes[count..];
        }
    }

    /// So many bytes; none when the host has hung up.
    fn receive(&self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut have = 0;
        while have < length {
            match self.stream.read(&mut bytes[have..]) {
                Ok(0) => return None,
                Ok(count) => have += count,
                Err(error) => {
                    let kind = error.kind();
                    assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{error}");
                    return None;
                }
            }
        }
        Some(bytes)
    }

    fn say(&mut self, request: Request, extra: &[u8]) {
        self.send(&request.encode(self.operation));
        self.send(extra);
    }

    /// The next reply, without what follows it.
    fn reply(&mut self) -> Option<Reply> {
        let header = self.receive(HEADER)?;
        let header = Header::decode(header.as_slice().try_into().expect("a whole one"));
        let header = header.expect("a header");
        let payload = self.receive(header.size as usize)?;
        let reply = Reply::decode(header.kind, &payload).expect("a reply");
        self.receive(reply.extra() as usize)?;
        Some(reply)
    }

    fn ask(&mut self, request: Request, extra: &[u8]) -> Option<Reply> {
        self.say(request, extra);
        self.operation += 1;
        self.reply()
    }

    /// A disk, open in a session with buffers of 64 KiB.
    fn open(&mut self, path: &str, file_type: u32, flags: OpenFlags) -> FileOpened {
        assert_eq!(self.shake_hands(&self.frames()), [36, 51, 52]);
        let session = Request::OpenSession(OpenSession {
            buffer_size: 64 << 10,
            buffer_count: 1,
        });
        assert_eq!(self.ask(session, &[]), Some(Reply::SessionOpened));
        let open = Request::OpenFile(OpenFile {
            path: u32::try_from(path.len()).expect("short"),
            file_type,
            flags,
        });
        match self.ask(open, path.as_bytes()) {
            Some(Reply::FileOpened(opened)) => opened,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_handshake_has_one_order() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let client = Client::new(&demo);
    assert_eq!(client.shake_hands(&client.frames()), [36, 51, 52]);

    let client = Client::new(&demo);
    let other_tag = [
        vec![Frame::ClientRandom(b"another".to_vec())],
        client.frames().split_off(1),
    ];
    assert_eq!(client.shake_hands(&other_tag.concat()), [4]);

    for left_out in 0..6 {
        let client = Client::new(&demo);
        let mut frames = client.frames();
        frames.remove(left_out);
        // So that something comes last.
        frames.push(Frame::OpenAio);
        let answers = client.shake_hands(&frames);
        assert_eq!(
            answers.last(),
            Some(if left_out == 5 { &52 } else { &4 }),
            "without number {left_out}: {answers:?}"
        );
    }
}

#[test]
fn a_read_is_one_request_that_agrees_with_itself() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let mut client = Client::new(&demo);
    let opened = client.open(&demo.idle().1, FILE_TYPE_DISK, OpenFlags::FOR_READING);
    let read = Io::read(opened.handle, 0, 0, 4096);
    assert!(matches!(
        client.ask(Request::Io(read), &[]),
        Some(Reply::Io(_))
    ));
    for wrong in [
        Io { part: 512, ..read },
        Io { total: 512, ..read },
        Io {
            length: 512,
            ..read
        },
        Io { sent: 512, ..read },
    ] {
        let reply = client.ask(Request::Io(wrong), &[]);
        assert!(
            matches!(reply, Some(Reply::Error(_))),
            "{wrong:?}: {reply:?}"
        );
    }
}

#[test]
fn writes_are_not_mixed() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let write = |handle, total, part| {
        let io = Io {
            handle_or_status: handle,
            part,
            length: 512,
            sent: 512,
            ..Io::written(0, total)
        };
        Request::Io(io)
    };
    let mut client = Client::new(&demo);
    let opened = client.open(&demo.idle().1, FILE_TYPE_DISK, OpenFlags::FOR_WRITING);
    let handle = opened.handle;
    client.say(write(handle, 1024, 0), &[1; 512]);
    assert_eq!(
        client.ask(write(handle, 1024, 512), &[2; 512]),
        Some(Reply::Io(Io::written(0, 1024)))
    );
    let two_lengths = Io {
        handle_or_status: handle,
        sent: 1024,
        ..Io::written(0, 512)
    };
    let reply = client.ask(Request::Io(two_lengths), &[3; 512]);
    assert!(matches!(reply, Some(Reply::Error(_))), "{reply:?}");
    client.say(write(handle, 1024, 0), &[4; 512]);
    client.operation += 1;
    assert_eq!(client.ask(write(handle, 512, 0), &[5; 512]), None);
}

#[test]
fn the_file_type_is_that_of_the_request() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    for file_type in [FILE_TYPE_DISK, 3] {
        let opened = Client::new(&demo).open(&demo.idle().1, file_type, OpenFlags::FOR_READING);
        assert_eq!(opened.file_type, file_type);
    }
}

#[test]
fn most_calls_need_a_login() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = Target::new(folder.path());
    for (method, is_open) in [
        ("RetrieveServiceContent", true),
        ("RetrieveInternalContent", false),
        ("CurrentTime", false),
    ] {
        let body = format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><{method}>\
             <_this type=\"ServiceInstance\">ServiceInstance</_this></{method}></e:Body></e:Envelope>"
        );
        let length = body.len();
        let request = format!("POST /sdk HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = target.http(request.as_bytes());
        let answer = String::from_utf8(answer).expect("text");
        assert_eq!(!answer.contains("NotAuthenticated"), is_open, "{answer}");
    }
}
