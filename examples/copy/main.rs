//! Copies a virtual disk to a raw image or into another virtual disk, reading only what holds data: a backup.
//!
//! ```text
//! cargo run --release --example copy -- [OPTIONS] SOURCE.vmdk TARGET
//! cargo run --release --example copy -- --server NAME --user NAME --password-file FILE --thumbprint HEX \
//!     --vm MOREF --snapshot MOREF '[datastore1] web/web.vmdk' web.vmdk
//! ```
//!
//! A new TARGET named `.vmdk` is a disk that grows with its data, any other a raw image. It gets its name when it is whole;
//! until then it is in the folder TARGET.partial, with a journal by which `--resume` goes on after whatever happened. With
//! `--changed-areas` TARGET is an earlier backup, of which a private copy is brought up to date and then takes its place.
//!
//! | It ends with | when |
//! |---|---|
//! | 0 | all is done |
//! | 1 | something failed, which is said on standard error |
//! | 2 | the command line is wrong |
//! | 3 | `--verify` found a difference |
//! | 129, 130, 143 | SIGHUP, Ctrl-C or SIGTERM ended it |
//!
//! ```text
//! main        main.rs        from the options to a backup
//!   options     options.rs     what the command line says
//!   areas       areas.rs       lists of changed areas
//!   source      source.rs      the disk to copy, and the access to its machine
//!   workplace   workplace.rs   where the backup is made before it gets its name
//!     journal     journal.rs     what of it is durable
//!     base        base.rs        a private copy of an earlier backup
//!   target      target.rs      an image or a disk to write to
//!     checkpoints checkpoints.rs journal entries on the way
//!   verify      verify.rs      both sides once more
//!   watch       watch.rs       the bar, and signals
//! ```

mod areas;
mod base;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod journal;
mod options;
mod source;
mod target;
mod verify;
mod watch;
mod workplace;

use std::process::ExitCode;

use clap::Parser;
use vixdisklib::{
    ChangedAreas, CopyOptions, CopyTarget, ExtentDetail, Library, Sector, SectorRange, copy,
};

use checkpoints::Checkpoints;
use common::Result;
use options::Options;
use source::Source;
use target::Target;
use verify::Differs;
use watch::Watch;
use workplace::Workplace;

fn main() -> ExitCode {
    let options = Options::parse();
    // Before anything that has to be undone, so that no signal ends the process half way.
    let watch = match Watch::start() {
        Ok(watch) => watch,
        Err(error) => return common::exit_code("copy", Err(error)),
    };
    match run(&options, &watch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("copy: {}", common::explain(&*error));
            match watch.signal() {
                Some(signal) => ExitCode::from(128 + signal),
                None if error.is::<Differs>() => ExitCode::from(3),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(options: &Options, watch: &Watch) -> Result<()> {
    let library = common::library(options.libdir.as_ref(), options.stats)?;
    match options.in_place {
        true => in_place(options, &library, watch)?,
        false => aside(options, &library, watch)?,
    }
    if let Some(statistics) = library.statistics() {
        eprintln!("{statistics}");
    }
    Ok(())
}

/// Writes into the target itself.
fn in_place(options: &Options, library: &Library, watch: &Watch) -> Result<()> {
    let source = Source::open(options, library, false)?;
    let outcome = (|| {
        let areas = changed_areas(options, &source)?;
        let mut target = Target::open(library, options.target())?;
        if areas.is_some() {
            target.holds(&source)?;
        }
        let how = options
            .how()
            .target_is_zero(options.target_is_zero && areas.is_none());
        fill(&source, &mut target, with_areas(how, areas), watch)?;
        if options.verify {
            verify::compare(&source, &mut target, options, watch)?;
        }
        target.close()
    })();
    outcome.and(source.end())
}

/// Makes a new backup, or a new state of an earlier one, which gets its name when it is whole.
fn aside(options: &Options, library: &Library, watch: &Watch) -> Result<()> {
    let earlier = options.changed_areas.is_some();
    let mut place = Workplace::enter(options.target(), options.resume, earlier)?;
    let source = Source::open(options, library, place.is_resumed())?;
    let outcome = back_up(options, library, &source, &mut place, watch);
    if outcome.is_err() && place.is_begun() {
        let folder = place.folder().display();
        eprintln!("copy: what was copied so far is in \"{folder}\"; --resume goes on with it");
    }
    outcome.and(source.end())
}

fn back_up(
    options: &Options,
    library: &Library,
    source: &Source,
    place: &mut Workplace,
    watch: &Watch,
) -> Result<()> {
    let areas = changed_areas(options, source)?;
    let job = source.job(options.target(), areas.as_ref());
    let data = place.data().to_owned();
    let start = place.begin(&job, || match areas {
        Some(_) => Target::open(library, &data)?.check(source),
        None => Target::create(library, &data, source)?.close(),
    })?;
    let (mut target, is_zero) = match areas {
        Some(_) => (Target::open(library, &data)?, false),
        None => Target::partial(library, &data, start)?,
    };
    let how = options.how().target_is_zero(is_zero);
    let how = with_areas(how, rest(source, areas, start.done)?);
    let every = options.checkpoint();
    let mut checkpoints = Checkpoints::new(&mut target, place.journal(), every);
    fill(source, &mut checkpoints, how, watch)?;
    if options.verify {
        verify::compare(source, &mut target, options, watch)?;
    }
    target.close()?;
    place.put()
}

fn changed_areas(options: &Options, source: &Source) -> Result<Option<ChangedAreas>> {
    let file = options.changed_areas.as_deref();
    file.map(|file| areas::read(file, source.disk().capacity()))
        .transpose()
}

/// What an interrupted copy has left to do.
fn rest(
    source: &Source,
    areas: Option<ChangedAreas>,
    done: Sector,
) -> Result<Option<ChangedAreas>> {
    if done == Sector::ZERO {
        return Ok(areas);
    }
    let capacity = source.disk().capacity();
    let whole = SectorRange::whole(capacity);
    let rest = match &areas {
        Some(areas) => areas.as_slice(),
        None => &[whole],
    };
    let rest = rest.iter().map(|area| area.split_at(done).1);
    Ok(Some(ChangedAreas::new(capacity, rest)?))
}

fn with_areas(how: CopyOptions, areas: Option<ChangedAreas>) -> CopyOptions {
    match areas {
        Some(areas) => how.changed(areas),
        None => how,
    }
}

fn fill(
    source: &Source,
    target: &mut impl CopyTarget,
    how: CopyOptions,
    watch: &Watch,
) -> Result<()> {
    let disk = source.disk();
    if let ExtentDetail::Unknown(reason) = disk.extent_detail() {
        eprintln!("copy: reading all of the disk: {reason}");
    }
    let bar = watch.bar("copying")?;
    let done = copy(disk, target, &how, |progress| bar.step(progress));
    bar.end();
    println!("{}", done?);
    Ok(())
}
