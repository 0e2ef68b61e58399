//! Bytes of a hostile client of the simulator, and what must hold of the answers.
//!
//! The first byte of an input says what it is: the body of a SOAP call, a stream of HTTP, lines to the authentication
//! daemon, or messages of a session. Whatever comes, the answers are of the form that clients expect, nobody gets to a
//! service without a ticket, and a session gives back what it took.

use std::sync::OnceLock;

use parking_lot::Mutex;
use vsphere_nfc::wire::aio::{
    CloseFile, CloseSession, DdbGet, HEADER, Header, Io, MAGIC, OpenFile, OpenFlags, OpenSession,
    QueryBlocks, Reply, Request,
};
use vsphere_nfc::wire::classic::{FRAME, Frame};
use vsphere_sim::fuzzing::Target;

/// The handle of the first disk of a session.
const HANDLE: u64 = 0xffff_ffff_8000_0001;
/// What daemon and client agreed on.
const TAG: &[u8] = b"PlainText";

/// Clients come one after another, for what is left of a session is looked at.
static ALONE: Mutex<()> = Mutex::new(());

/// The simulator, with its disks in a folder of this process.
fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("fuzz-sim-{}", std::process::id()));
        // What an earlier process of the same number left.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the disks");
        Target::new(&folder)
    })
}

/// Serves the client that an input stands for, and panics if a claim does not hold.
pub fn run(input: &[u8]) {
    let [first, sent @ ..] = input else {
        return;
    };
    let _alone = ALONE.lock();
    let answers = ask(input);
    match first % 4 {
        0 => check_soap(std::str::from_utf8(&answers).expect("an answer is text")),
        1 => assert!(answers.is_empty() || answers.starts_with(b"HTTP/1.1 ")),
        2 => check_lines(sent, &answers),
        _ => {
            check_messages(&answers);
            assert_eq!(
                target().memory_in_use(),
                0,
                "memory of a session that ended"
            );
        }
    }
}

/// What the client that an input stands for is answered.
#[must_use]
pub fn answers(input: &[u8]) -> Vec<u8> {
    let _alone = ALONE.lock();
    ask(input)
}

fn ask(input: &[u8]) -> Vec<u8> {
    let [first, sent @ ..] = input else {
        return Vec::new();
    };
    match first % 4 {
        0 => target().soap(sent).into_bytes(),
        1 => target().http(sent),
        2 => target().authd(sent),
        _ => target().session(sent, Some(TAG)),
    }
}

fn check_soap(answer: &str) {
    let document = roxmltree::Document::parse(answer).expect("an answer is XML");
    let body = document
        .root_element()
        .first_element_child()
        .expect("an envelope has a body");
    let content = body
        .first_element_child()
        .expect("a body has something in it");
    let name = content.tag_name().name();
    assert!(name == "Fault" || name.ends_with("Response"), "{name}");
}

fn check_lines(sent: &[u8], answers: &[u8]) {
    let text = std::str::from_utf8(answers).expect("replies are text");
    assert!(
        text.is_empty() || text.ends_with("\r\n"),
        "a reply is a whole line"
    );
    for line in text.lines() {
        let code = line.get(..4).expect("a reply has a code");
        assert!(
            code[..3].bytes().all(|byte| byte.is_ascii_digit()) && code.ends_with(' '),
            "{line}"
        );
        if line.starts_with("200 Connect") {
            let sent = String::from_utf8_lossy(sent);
            assert!(
                sent.contains("TICKET"),
                "somebody was let in without a ticket"
            );
        }
    }
}

/// Takes the handshake's frames apart, and then the replies of the session. The last one may be cut off, as the client
/// hung up.
fn check_messages(mut answers: &[u8]) {
    while let Some((frame, rest)) = answers.split_first_chunk::<FRAME>() {
        if frame.starts_with(&MAGIC.to_le_bytes()) {
            break;
        }
        let frame = Frame::decode(frame).expect("a frame");
        assert!(matches!(frame.number(), 4 | 20 | 36 | 51 | 52), "{frame:?}");
        answers = rest.get(frame.extra() as usize..).unwrap_or_default();
    }
    while let Some((header, rest)) = answers.split_first_chunk::<HEADER>() {
        let header = Header::decode(header).expect("a header");
        let Some((payload, rest)) = rest.split_at_checked(header.size as usize) else {
            return;
        };
        let reply = Reply::decode(header.kind, payload).expect("a reply");
        answers = rest.get(reply.extra() as usize..).unwrap_or_default();
    }
}

fn call(call: &str) -> Vec<u8> {
    let envelope = format!(
        "\0<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>{call}\
         </soapenv:Body></soapenv:Envelope>"
    );
    envelope.into_bytes()
}

/// A whole session: handshake, a disk, reads and writes.
fn session() -> Vec<u8> {
    let mut sent = vec![3];
    let frames = [
        Frame::ClientRandom(TAG.to_vec()),
        Frame::Probe,
        Frame::Version {
            version: 11,
            second: 0,
        },
        Frame::Connection {
            name: 4,
            operation: 7,
        },
    ];
    for frame in frames {
        sent.extend(frame.encode());
    }
    sent.extend(b"vddknbdmode");
    sent.extend(Frame::Features(3).encode());
    sent.extend(Frame::OpenAio.encode());
    let path = b"[datastore1] web/web-000001.vmdk";
    let write = Io {
        sent: 512,
        ..Io::written(0, 512)
    };
    let requests: [(Request, &[u8]); 8] = [
        (
            Request::OpenSession(OpenSession {
                buffer_size: 65536,
                buffer_count: 1,
            }),
            &[],
        ),
        (Request::SetResourcePool(1), &[]),
        (
            Request::OpenFile(OpenFile {
                path: u32::try_from(path.len()).unwrap_or_default(),
                file_type: 2,
                flags: OpenFlags::FOR_WRITING,
            }),
            path,
        ),
        (Request::Io(Io::read(HANDLE, 0, 0, 66048)), &[]),
        (
            Request::Io(Io {
                handle_or_status: HANDLE,
                ..write
            }),
            &[7; 512],
        ),
        (
            Request::DdbGet(DdbGet {
                handle: HANDLE,
                key: 4,
            }),
            b"uuid",
        ),
        (
            Request::QueryBlocks(QueryBlocks {
                handle: HANDLE,
                chunk: 65536,
                start: 0,
                count: 16,
            }),
            &[],
        ),
        (
            Request::CloseFile(CloseFile {
                handle: HANDLE,
                long: false,
            }),
            &[],
        ),
    ];
    for (operation, (request, extra)) in (0..).zip(requests) {
        sent.extend(request.encode(operation));
        sent.extend(extra);
    }
    sent.extend(Request::CloseSession(CloseSession::Short).encode(8));
    sent.extend(Frame::SessionComplete.encode());
    sent
}

/// Whole conversations of each kind to begin with, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let http = b"\x01GET /sdk/vimServiceVersions.xml HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /sdk HTTP/1.1\r\nContent-Length: 2\r\nCookie: vmware_soap_session=\"a\"; Path=/\r\n\r\n<a";
    let lines =
        b"\x02SESSION TICKET\r\nBANNER \r\nTHUMBPRINT_SHA2 PlainText\r\nPROXY vpxa-nfcssl\r\n";
    vec![
        (
            "soap_content",
            call(
                "<RetrieveServiceContent xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></RetrieveServiceContent>",
            ),
        ),
        (
            "soap_ticket",
            call(
                "<NfcRandomAccessOpenDisk xmlns=\"urn:vim25\"><_this type=\"NfcService\">nfcService</_this><vm type=\"VirtualMachine\">vm-100</vm><diskDeviceKey>2000</diskDeviceKey><hostForAccess type=\"HostSystem\">host-10</hostForAccess></NfcRandomAccessOpenDisk>",
            ),
        ),
        (
            "soap_properties",
            call(
                "<RetrievePropertiesEx xmlns=\"urn:vim25\"><_this type=\"PropertyCollector\">propertyCollector</_this><specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet><pathSet>config.hardware.device</pathSet></propSet><objectSet><obj type=\"Folder\">group-d1</obj><skip>true</skip><selectSet><name>a</name><type>Folder</type><path>childEntity</path><selectSet><name>b</name></selectSet></selectSet><selectSet><name>b</name><type>Datacenter</type><path>vmFolder</path><selectSet><name>a</name></selectSet></selectSet></objectSet></specSet><options/></RetrievePropertiesEx>",
            ),
        ),
        (
            "soap_changes",
            call(
                "<QueryChangedDiskAreas xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">vm-100</_this><deviceKey>2000</deviceKey><startOffset>0</startOffset><changeId>*</changeId></QueryChangedDiskAreas>",
            ),
        ),
        ("http", http.to_vec()),
        ("authd", lines.to_vec()),
        ("session", session()),
    ]
}
