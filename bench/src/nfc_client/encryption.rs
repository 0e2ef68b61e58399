//! What the TLS library moves when there is nothing else to do: a server that answers each small request with 1 MiB from
//! memory, over loopback, and a client that drops it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use super::Result;

const NAME: &str = "localhost";
/// As long as a request for data of a disk.
const REQUEST: [u8; 60] = [0; 60];
const ANSWER: usize = 1 << 20;

/// Moves `count` MiB with `depth` requests in flight.
pub(super) fn run(depth: usize, count: usize) -> Result<Duration> {
    let key = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = key.cert.der().clone();
    let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], secret.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&listener, server));
        let time = ask(TcpStream::connect(address)?, client, depth, count);
        serving.join().map_err(|_| "the server panicked")??;
        time
    })
}

fn serve(listener: &TcpListener, config: ServerConfig) -> Result {
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config))?, socket);
    let mut request = REQUEST;
    let answer = vec![7; ANSWER];
    // The client hangs up when it has enough.
    while stream.read_exact(&mut request).is_ok() {
        stream.write_all(&answer)?;
        stream.flush()?;
    }
    Ok(())
}

fn ask(socket: TcpStream, config: ClientConfig, depth: usize, count: usize) -> Result<Duration> {
    socket.set_nodelay(true)?;
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME)?)?;
    let mut stream = StreamOwned::new(connection, socket);
    let mut answer = vec![0; ANSWER];
    let begin = Instant::now();
    for number in 0..count + depth {
        if number >= depth {
            stream.read_exact(&mut answer)?;
        }
        if number < count {
            stream.write_all(&REQUEST)?;
            stream.flush()?;
        }
    }
    Ok(begin.elapsed())
}
