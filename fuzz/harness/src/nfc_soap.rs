//! Answers of a hostile vCenter or ESXi host, and what must hold of what was understood.
//!
//! The first byte of an input says to which question it is the answer, and with its highest bit that it is a whole HTTP
//! answer instead of a document; the rest is what the server sends.

use vsphere_nfc::fuzzing::{METHODS, Understood, body, read};

const HTTP: u8 = 0x80;

/// The longest text of a server's that an error shows, with some room for our own words.
const MAX_ERROR: usize = 4096;

/// Reads the answer that an input stands for, and panics if a claim does not hold.
pub fn run(input: &[u8]) {
    let [first, sent @ ..] = input else {
        return;
    };
    let method = usize::from(first & !HTTP) % METHODS.len();
    let understood = if first & HTTP == 0 {
        read(method, sent)
    } else {
        body(sent).and_then(|body| {
            assert!(body.len() <= sent.len(), "a body grew");
            read(method, &body)
        })
    };
    match understood {
        Some(Understood::Version(version)) => {
            assert!(version.starts_with(['6', '7', '8', '0']), "{version}");
        }
        Some(Understood::Ticket(ticket)) => {
            let service = ticket.service();
            assert!(!service.is_empty() && service.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(!ticket.host().is_empty());
        }
        Some(Understood::Areas(areas)) => {
            let mut end = areas.covered.start();
            assert_eq!(end.get(), 2048);
            for (index, area) in areas.areas.iter().enumerate() {
                assert!(!area.is_empty() && (index == 0 || end < area.start()));
                assert!(end <= area.start());
                end = area.end();
            }
            assert!(end <= areas.covered.end());
        }
        Some(Understood::Fault(error)) => {
            let text = error.to_string();
            assert!(text.len() <= MAX_ERROR && !text.contains('\n'), "{text}");
        }
        Some(Understood::Disks(_) | Understood::Login) | None => {}
    }
}

/// Whole answers of each kind to begin with, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let soap = |content: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
             xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{content}</soapenv:Body>\
             </soapenv:Envelope>"
        )
    };
    let response = |method: usize, content: &str| {
        let name = METHODS[method];
        soap(&format!(
            "<{name}Response xmlns=\"urn:vim25\"><returnval>{content}</returnval></{name}Response>"
        ))
    };
    let versions = "<namespaces version=\"1.0\"><namespace><name>urn:vim25</name><version>8.0.3.0</version>\
        <priorVersions><version>8.0.2.0</version><version>6.5</version></priorVersions></namespace></namespaces>";
    let content = response(
        1,
        "<propertyCollector type=\"PropertyCollector\">p</propertyCollector><about><apiType>HostAgent</apiType>\
         <apiVersion>8.0.3.0</apiVersion></about><sessionManager type=\"SessionManager\">s</sessionManager>",
    );
    let login = response(2, "<key>52-1</key><userName>root</userName>");
    let ticket = response(
        3,
        "<host>esx</host><port>902</port><sslThumbprint>DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09\
         </sslThumbprint><service>vpxa-nfc</service><serviceVersion>1.1</serviceVersion><sessionId>52-1</sessionId>",
    );
    let areas = response(
        4,
        "<startOffset>1048576</startOffset><length>9437184</length><changedArea><start>1048576</start>\
         <length>65536</length></changedArea><changedArea><start>4194304</start><length>131072</length></changedArea>",
    );
    let disks = response(
        5,
        "<objects><obj type=\"VirtualMachine\">1</obj><propSet><name>config.hardware.device</name>\
         <val xsi:type=\"ArrayOfVirtualDevice\"><VirtualDevice xsi:type=\"VirtualDisk\"><key>2000</key>\
         <backing><fileName>[ds] a-1.vmdk</fileName><parent><fileName>[ds] a.vmdk</fileName></parent></backing>\
         <capacityInBytes>1073741824</capacityInBytes></VirtualDevice></val></propSet></objects>",
    );
    let fault = soap(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>gone &amp; lost</faultstring><detail>\
         <ManagedObjectNotFoundFault xmlns=\"urn:vim25\" xsi:type=\"ManagedObjectNotFound\">\
         <obj type=\"VirtualMachine\">vm-1</obj></ManagedObjectNotFoundFault></detail></soapenv:Fault>",
    );
    let whole = |headers: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}");
    let sized = |body: &str| whole(&format!("Content-Length: {}\r\n", body.len()), body);
    let (half, rest) = login.split_at(login.len() / 2);
    let chunks = format!(
        "{:x}\r\n{half}\r\n{:x};x=y\r\n{rest}\r\n0\r\nA: b\r\n\r\n",
        half.len(),
        rest.len()
    );
    let cookie = "Set-Cookie: vmware_soap_session=\"1\"; Path=/\r\nTransfer-Encoding: chunked\r\n";
    let seed = |first: u8, text: &str| [&[first], text.as_bytes()].concat();
    vec![
        ("areas", seed(4, &areas)),
        ("disks", seed(5, &disks)),
        ("fault", seed(3, &fault)),
        ("http_chunked", seed(HTTP | 2, &whole(cookie, &chunks))),
        (
            "http_closed",
            seed(HTTP | 1, &whole("Connection: close\r\n", &content)),
        ),
        ("http_sized", seed(HTTP | 3, &sized(&ticket))),
        ("login", seed(2, &login)),
        ("service_content", seed(1, &content)),
        ("ticket", seed(3, &ticket)),
        ("versions", seed(0, versions)),
    ]
}
