use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use disk_units::ByteLen;

use super::*;
use crate::nbd::export::ZeroRequest;
use crate::nbd::source::Found;

/// How many of these are open now, at most so far, and were flushed.
#[derive(Debug, Default)]
struct Seen {
    opened: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    flushed: AtomicUsize,
}

struct Disk(Arc<Seen>);

impl Disk {
    fn open(seen: &Arc<Seen>) -> Arc<dyn Export> {
        seen.opened.fetch_add(1, Ordering::SeqCst);
        let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(open, Ordering::SeqCst);
        Arc::new(Self(Arc::clone(seen)))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Long enough for somebody to open it a second time, if that were possible.
        std::thread::sleep(Duration::from_millis(1));
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Export for Disk {
    fn size(&self) -> ByteLen {
        ByteLen::new(512)
    }
    fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
        Ok(())
    }
    fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
        Ok(())
    }
    fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), ExportError> {
        self.0.flushed.fetch_add(1, Ordering::SeqCst);
        Err(ExportError::new(ErrorNumber::Io, "the medium is gone"))
    }
}

fn table(names: &[&str], default: Option<&str>) -> ExportTable {
    let seen = Arc::new(Seen::default());
    let entry = |name: &&str| Entry::new((*name).to_owned(), String::new(), Disk::open(&seen));
    let entries = names.iter().map(entry).collect();
    ExportTable::new(entries, default.map(str::to_owned), None)
}

fn name(table: &ExportTable, wanted: &str) -> Option<String> {
    table.find(wanted).ok().map(|entry| entry.name.clone())
}

#[test]
fn the_empty_name_is_the_default() {
    let none = table(&["a", "b"], None);
    assert_eq!(name(&none, ""), None);
    assert_eq!(name(&none, "b").as_deref(), Some("b"));
    assert_eq!(name(&none, "B"), None);
    assert_eq!(name(&table(&["a"], None), "").as_deref(), Some("a"));
    assert_eq!(name(&table(&["a", ""], None), "").as_deref(), Some(""));
    let chosen = table(&["a", "b"], Some("b"));
    assert_eq!(name(&chosen, "").as_deref(), Some("b"));
}

fn with_source(
    default: Option<&str>,
    find: impl Fn(&str) -> Result<Option<Found>, ExportError> + Send + Sync + 'static,
) -> ExportTable {
    ExportTable::new(Vec::new(), default.map(str::to_owned), Some(Box::new(find)))
}

#[test]
fn a_source_opens_once_for_all_and_closes_after_the_last() {
    let seen = Arc::new(Seen::default());
    let disks = Arc::clone(&seen);
    let table = with_source(Some("x"), move |name| {
        Ok((name == "x").then(|| Found::new("about x", Disk::open(&disks))))
    });
    assert_eq!(table.find("y").unwrap_err(), NotServed::Unknown);
    let first = table.find("x").unwrap();
    let second = table.find("").unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(first.description, "about x");
    assert_eq!(table.all_open().len(), 1);
    drop(first);
    assert_eq!(seen.open.load(Ordering::SeqCst), 1);
    drop(second);
    assert_eq!(seen.open.load(Ordering::SeqCst), 0);
    assert_eq!(seen.flushed.load(Ordering::SeqCst), 1);
    assert!(table.all_open().is_empty());
    let (name, error) = table.take_failure().unwrap();
    assert_eq!(
        (name.as_str(), error.message()),
        ("x", "the medium is gone")
    );
}

#[test]
fn a_source_never_has_one_export_open_twice() {
    let seen = Arc::new(Seen::default());
    let disks = Arc::clone(&seen);
    let table = with_source(None, move |_| Ok(Some(Found::new("", Disk::open(&disks)))));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| drop(table.find("x").unwrap())));
        }
    });
    assert_eq!(seen.most.load(Ordering::SeqCst), 1);
    assert_eq!(seen.open.load(Ordering::SeqCst), 0);
    assert!(seen.opened.load(Ordering::SeqCst) > 1);
}

/// One slow disk must not hold up the others.
#[test]
fn exports_of_a_source_open_side_by_side() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = parking_lot::Mutex::new(gate);
    let seen = Arc::new(Seen::default());
    let table = with_source(None, move |name| {
        if name == "slow" {
            gate.lock().recv().unwrap();
        }
        Ok(Some(Found::new("", Disk::open(&seen))))
    });
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| table.find("slow").is_ok());
        assert!(table.find("fast").is_ok());
        release.send(()).unwrap();
        assert!(slow.join().unwrap());
    });
}

#[test]
fn failures_of_a_source_reach_the_client_and_leave_nothing() {
    let table = with_source(None, |name| match name {
        "panic" => panic!("a bug"),
        _ => Err(ExportError::new(ErrorNumber::Io, "it is locked")),
    });
    let NotServed::Failed(error) = table.find("x").unwrap_err() else {
        panic!("it was there")
    };
    assert_eq!(error.message(), "it is locked");
    assert!(matches!(table.find("panic"), Err(NotServed::Failed(_))));
    assert!(matches!(table.find("panic"), Err(NotServed::Failed(_))));
    for number in 0..100 {
        assert!(table.find(&number.to_string()).is_err());
    }
    assert!(table.open.is_nearly_empty());
}

/// Whoever drops the last reference, a thread of a client or the server's own, must survive the flush.
#[test]
fn a_panic_while_the_last_client_leaves_is_a_failure_to_flush() {
    struct Panics;
    impl Export for Panics {
        fn size(&self) -> ByteLen {
            ByteLen::new(512)
        }
        fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
            Ok(())
        }
        fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
            Ok(())
        }
        fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
            Ok(())
        }
        fn flush(&self) -> Result<(), ExportError> {
            panic!("a bug")
        }
    }
    let table = with_source(None, |_| Ok(Some(Found::new("", Arc::new(Panics)))));
    drop(table.find("x").unwrap());
    let (name, error) = table.take_failure().unwrap();
    assert_eq!((name.as_str(), error.number()), ("x", ErrorNumber::Io));
    assert!(table.find("x").is_ok(), "it can be opened again");
}

#[test]
fn lists_leave_out_what_cannot_be_sent() {
    struct Bad;
    impl ExportSource for Bad {
        fn list(&self) -> Vec<Listed> {
            vec![
                Listed::new("good", ""),
                Listed::new("a\0b", ""),
                Listed::new("x".repeat(4097), ""),
            ]
        }
        fn find(&self, _: &str) -> Result<Option<Found>, ExportError> {
            Ok(None)
        }
    }
    let table = ExportTable::new(Vec::new(), None, Some(Box::new(Bad)));
    assert_eq!(table.list(), [Listed::new("good", "")]);
}

/// As [`Disk`], with contexts.
struct WithContexts(Vec<String>);

impl Export for WithContexts {
    fn size(&self) -> ByteLen {
        ByteLen::new(512)
    }
    fn is_read_only(&self) -> bool {
        true
    }
    fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
        Ok(())
    }
    fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
        Ok(())
    }
    fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), ExportError> {
        Ok(())
    }
    fn contexts(&self) -> &[String] {
        &self.0
    }
}

#[test]
fn a_source_offers_no_context_that_clients_cannot_ask_for() {
    let table = with_source(None, |name| {
        let export = Arc::new(WithContexts(vec![name.to_owned()]));
        Ok(Some(Found::new("", export)))
    });
    assert!(table.find("x-own:good").is_ok());
    let NotServed::Failed(error) = table.find("bad").unwrap_err() else {
        panic!("it was there")
    };
    assert!(
        error.message().contains("\"bad\" has no namespace"),
        "{error}"
    );
}
