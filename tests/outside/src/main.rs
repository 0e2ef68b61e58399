//! A backup in small, as a product would write it: `outside LIBRARY SERVER DISK` reads what a disk of a virtual machine
//! holds, and the same disk once more as a first class disk.

use std::error::Error;

use vixdisklib::{
    AlignedBuf, ConnectOptions, ConnectParams, Credentials, Library, OpenFlags, Secret,
    SectorCount, SectorRange, Spec, Transport,
};

fn backup(library: &Library, server: &str, spec: Spec, disk: &str) -> vixdisklib::Result<u64> {
    let params = ConnectParams::builder(spec)
        .server(server)
        .credentials(Credentials::Password {
            user: "backup".to_owned(),
            password: Secret::new("swordfish".to_owned())?,
        })
        .build()?;
    let access = library.prepare_for_access(params, "outside")?;
    let options = ConnectOptions::new()
        .read_only(true)
        .transport_modes([Transport::NBDSSL, Transport::NBD]);
    let disk = access.connect(&options)?.open_disk(disk, OpenFlags::READ_ONLY)?;
    let mut sum = 0;
    for extent in disk.extents(SectorRange::whole(disk.capacity()))? {
        let extent = extent?;
        for piece in extent.range.pieces(SectorCount::new(8192)) {
            if extent.allocated {
                let buffer = AlignedBuf::new(piece.count());
                let (done, bytes) = disk.read_async(piece.start(), buffer).wait();
                done?;
                sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
        }
    }
    disk.close()?;
    access.end()?;
    Ok(sum)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, server, disk] = arguments.as_slice() else {
        return Err("usage: outside LIBRARY SERVER DISK".into());
    };
    let library = Library::load(folder)?;
    let moref = "vm-16".to_owned();
    println!("{}", backup(&library, server, Spec::Vm { moref }, disk)?);
    let fcd = Spec::Fcd {
        id: "11111111-2222-3333-4444-555555555555".to_owned(),
        datastore: "datastore-11".to_owned(),
        snapshot: None,
    };
    println!("{}", backup(&library, server, fcd, disk)?);
    Ok(())
}
