//! Who does what, against whom.

use super::claims::Claim;
use super::images::Images;
use super::server::{Layout, Programs, Server};

/// One task, done by a client on each server in turn.
pub(super) struct Contest {
    pub(super) name: String,
    pub(super) task: Task,
    /// Bytes that the client sees pass by, where that means something.
    pub(super) bytes: Option<u64>,
    pub(super) ours: Server,
    pub(super) peers: Vec<Server>,
    /// Where the client is what limits: a server that only answers.
    pub(super) ceiling: Option<Server>,
    pub(super) claims: Vec<Claim>,
}

/// What a client does.
pub(super) enum Task {
    /// A program with these arguments; `{uri}` and `{socket}` stand for the server's.
    Client(Vec<String>),
    /// Starts the server itself, and asks for its first bytes.
    Start,
}

impl Contest {
    pub(super) fn rows(&self) -> impl Iterator<Item = u32> {
        self.claims.iter().map(|claim| claim.row)
    }

    /// Whether it is about starting, so that the servers have done nothing else.
    pub(super) fn is_start(&self) -> bool {
        matches!(self.task, Task::Start)
    }

    /// Ours, the peers, and the one that only answers.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        [&self.ours]
            .into_iter()
            .chain(&self.peers)
            .chain(&self.ceiling)
    }

    /// With a server that only answers, as if it had this.
    fn limited_by_client(mut self, layout: Layout) -> Self {
        self.ceiling = Some(Server::answers(layout));
        self
    }
}

fn words(line: &str) -> Task {
    Task::Client(line.split(' ').map(str::to_owned).collect())
}

/// All contests.
pub(super) fn all(images: &Images, programs: &Programs) -> Vec<Contest> {
    let client = programs.client.display();
    let size = images.size();
    let [sparse, flat, stream, dense] =
        ["sparse", "flat", "stream", "dense"].map(|name| images.path(&format!("{name}.vmdk")));
    let raw = images.path("disk.raw");
    let flat_raw = images.path("flat-flat.vmdk");
    let read = |name: &str, line: &str, bytes, servers: Vec<Server>, claims: &[Claim]| {
        let mut servers = servers.into_iter();
        Contest {
            name: name.to_owned(),
            task: words(line),
            bytes,
            ours: servers.next().expect("ours is the first"),
            peers: servers.collect(),
            ceiling: None,
            claims: claims.to_vec(),
        }
    };
    let on_sparse = || {
        vec![
            Server::ours(&sparse),
            Server::qemu(&sparse, "vmdk"),
            Server::nbdkit(&raw),
        ]
    };
    let mut contests = Vec::new();

    let mut servers = on_sparse();
    let mut claims = vec![
        Claim::time(1, 0, 1.8, 2.4),
        Claim::time(3, 1, 0.9, 1.1),
        Claim::processor(8, 0, 0.5, 0.2),
        Claim::processor(8, 1, 0.8, 0.35),
    ];
    if programs.plugin.is_some() {
        servers.push(Server::plugin(&sparse));
        claims.push(Claim::time(2, 2, 1.6, 2.0));
    }
    contests.push(read(
        "nbdcopy to null, 1 connection, 256 KiB",
        "nbdcopy --connections=1 {uri} null:",
        Some(size),
        servers,
        &claims,
    ));
    for (text, bytes) in [("256 KiB", 256 << 10), ("2 MiB", 2 << 20)] {
        let contest = read(
            &format!("nbdcopy to null, 4 connections, {text}"),
            &format!("nbdcopy --connections=4 --request-size={bytes} {{uri}} null:"),
            Some(size),
            on_sparse(),
            &[Claim::time(4, 0, 7.0, 12.0), Claim::time(5, 1, 1.0, 1.5)],
        );
        contests.push(contest.limited_by_client(images.layout()));
    }
    contests.push(read(
        "nbdcopy --no-extents to null, 4 connections, 2 MiB, flat",
        "nbdcopy --no-extents --connections=4 --request-size=2097152 {uri} null:",
        Some(size),
        vec![
            Server::ours(&flat),
            Server::nbdkit(&flat_raw),
            Server::qemu(&flat, "vmdk"),
        ],
        &[Claim::time(6, 0, 1.2, 1.9), Claim::time(6, 1, 2.0, 3.0)],
    ));
    let lean = |work: &str| format!("{client} {{socket}} {work}");
    for (kind, image) in [("sparse", &sparse), ("flat", &flat)] {
        contests.push(read(
            &format!("lean client, all in order, 256 KiB, 8 in flight, {kind}"),
            &lean("read 262144 8 1"),
            Some(size),
            vec![
                Server::ours(image),
                Server::nbdkit(&raw),
                Server::qemu(&sparse, "vmdk"),
            ],
            &[
                Claim::time(7, 0, 1.3, 3.0),
                Claim::time(7, 1, 3.0, 8.0),
                Claim::processor(8, 0, 0.8, 0.35),
                Claim::processor(8, 1, 0.5, 0.2),
            ],
        ));
    }
    let nbdkit_first = || {
        vec![
            Server::ours(&sparse),
            Server::nbdkit(&raw),
            Server::qemu(&sparse, "vmdk"),
        ]
    };
    let many = [Claim::time(9, 0, 1.2, 1.5), Claim::time(9, 1, 10.0, 15.0)];
    for (name, line) in [
        (
            "lean client, random 4 KiB, 32 in flight",
            lean("random 4096 32 100000"),
        ),
        (
            "fio, random 4 KiB, 32 in flight",
            "fio --name=random --ioengine=nbd --uri={uri} --rw=randread --bs=4k --iodepth=32 --io_size=200m \
             --norandommap --randrepeat=1"
                .to_owned(),
        ),
    ] {
        let contest = read(name, &line, None, nbdkit_first(), &many);
        contests.push(contest.limited_by_client(images.layout()));
    }
    contests.push(read(
        "lean client, random 4 KiB, one at a time",
        &lean("random 4096 1 20000"),
        None,
        nbdkit_first(),
        &[Claim::time(10, 0, 1.0, 1.9), Claim::time(10, 1, 2.0, 7.0)],
    ));
    for depth in [1, 32] {
        contests.push(read(
            &format!("lean client, random 4 KiB, {depth} in flight, streamOptimized"),
            &lean(&format!("random 4096 {depth} 5000")),
            None,
            vec![Server::ours(&stream), Server::qemu(&stream, "vmdk")],
            &[Claim::time(11, 0, 2.0, 4.0)],
        ));
    }
    for (row, text, image, bytes, must, stretch) in [
        (12, "compressible", &stream, size, 2.5, 4.0),
        (13, "incompressible", &dense, images.dense_size(), 3.0, 6.0),
    ] {
        contests.push(read(
            &format!("nbdcopy to null, 1 connection, {text} streamOptimized"),
            "nbdcopy --connections=1 {uri} null:",
            Some(bytes),
            vec![Server::ours(image), Server::qemu(image, "vmdk")],
            &[Claim::time(row, 0, must, stretch)],
        ));
    }
    contests.extend(writing(images, programs));
    contests.extend(mapping(images));
    contests.push(Contest {
        name: "start to the first byte".to_owned(),
        task: Task::Start,
        bytes: None,
        ours: Server::ours(&sparse),
        peers: vec![Server::qemu(&sparse, "vmdk"), Server::nbdkit(&raw)],
        ceiling: None,
        claims: vec![Claim::time(22, 0, 1.0, 2.0), Claim::time(22, 1, 1.0, 2.0)],
    });
    contests
}

fn writing(images: &Images, programs: &Programs) -> Vec<Contest> {
    let client = programs.client.display();
    let [ours, theirs] = ["new-ours.vmdk", "new-theirs.vmdk"].map(|name| images.path(name));
    let raw = images.path("new.raw");
    let blocks = images.new_size() / (64 << 10);
    [
        (
            "64 KiB",
            64 << 10,
            blocks,
            vec![Claim::time(17, 0, 3.5, 5.0), Claim::time(17, 1, 0.7, 1.0)],
        ),
        (
            "4 KiB",
            4 << 10,
            blocks * 2,
            vec![Claim::time(18, 0, 3.0, 5.0)],
        ),
    ]
    .into_iter()
    .map(|(text, bytes, count, claims)| Contest {
        name: format!("lean client, random {text} writes, 32 in flight, new sparse, and a flush"),
        task: words(&format!("{client} {{socket}} write {bytes} 32 {count}")),
        bytes: None,
        ours: Server::ours(&ours).writable(),
        peers: vec![
            Server::qemu(&theirs, "vmdk").writable(),
            Server::nbdkit(&raw).writable(),
        ],
        ceiling: None,
        claims,
    })
    .collect()
}

fn mapping(images: &Images) -> Vec<Contest> {
    let (vmdk, raw) = (
        images.path("fragmented.vmdk"),
        images.path("fragmented.raw"),
    );
    let contest = |name: &str, line: &str, claims: &[Claim]| Contest {
        name: format!("{name} of 1 TiB with {} extents", images.extents()),
        task: words(line),
        bytes: None,
        ours: Server::ours(&vmdk),
        peers: vec![Server::qemu(&vmdk, "vmdk"), Server::nbdkit(&raw)],
        ceiling: None,
        claims: claims.to_vec(),
    };
    vec![
        contest(
            "nbdinfo --map",
            "nbdinfo --map {uri}",
            &[Claim::time(19, 0, 3.0, 10.0), Claim::time(19, 1, 3.0, 10.0)],
        )
        .limited_by_client(images.fragmented_layout()),
        contest(
            "qemu-img map",
            "qemu-img map --output=json -f raw {uri}",
            &[Claim::time(20, 0, 1.4, 2.3), Claim::time(20, 1, 1.0, 1.6)],
        ),
    ]
}
