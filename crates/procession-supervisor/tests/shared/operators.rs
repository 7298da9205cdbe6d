//! [`Units`]: the handle of operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use procession_supervisor::shared::{
    Desired, MemorySharedTable, Session, SharedTable, TableError, Units,
};

use crate::delegate::delegate;
use crate::support::{Cut, Log, manager, started, table_of, wait_for_row};

#[test]
fn operators_need_no_manager() {
    let table = MemorySharedTable::new();
    let units = Units::new(table.clone());
    assert_eq!(units.put("b", "unit", "one").wait().unwrap(), 1);
    assert_eq!(units.put("a", "unit", "one").wait().unwrap(), 1);
    assert_eq!(units.put("b", "unit", "two").wait().unwrap(), 2);
    units.want_stop("a").wait().unwrap();
    let first = units.list(None, 1).wait().unwrap();
    assert_eq!((&*first[0].key, first[0].desired, first.len()), ("a", Desired::Stop, 1));
    let second = units.list(Some("a"), 9).wait().unwrap();
    assert_eq!((&*second[0].key, second.len()), ("b", 1));
    units.want_run("a").wait().unwrap();
    assert_eq!(units.get("a").wait().unwrap().unwrap().desired, Desired::Run);
    let log = Log::default();
    let root = started(&manager(table.clone(), &log));
    wait_for_row(&table, "b", |row| row.is_ready);
    let manager = units.managers().wait().unwrap()[0].manager;
    assert_eq!(units.get("b").wait().unwrap().unwrap().owner, Some(manager));
    units.expire(manager).wait().unwrap();
    wait_for_row(&table, "b", |row| row.owner.is_some_and(|owner| owner != manager));
    for key in ["a", "b"] {
        units.remove(key).wait().unwrap();
    }
    root.close_blocking().unwrap();
    assert_eq!(units.list(None, 9).wait().unwrap(), []);
    let missing = units.clear_quarantine("a").wait();
    assert!(matches!(missing, Err(TableError::NotFound { key }) if key == "a"));
    log.check();
}

/// A store whose sessions work once, as if the server closed connections that are idle.
#[derive(Clone)]
struct Once(MemorySharedTable);

struct OnceSession(Box<dyn Session>, bool);

impl SharedTable for Once {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        Ok(Box::new(OnceSession(self.0.open()?, false)))
    }
}

impl OnceSession {
    fn inner(&mut self) -> Result<&mut dyn Session, TableError> {
        if std::mem::replace(&mut self.1, true) {
            return Err(TableError::Unavailable("the server has closed the connection".into()));
        }
        Ok(&mut *self.0)
    }
}
delegate!(OnceSession);

#[test]
fn a_call_with_an_old_session_is_repeated_with_a_new_one() {
    let units = Units::new(Once(table_of(&["a"])));
    for _ in 0..3 {
        units.want_stop("a").wait().unwrap();
    }
}

#[test]
fn the_handle_survives_an_outage_of_the_store_and_a_panic_in_it() {
    let table = table_of(&["a"]);
    let cut = Cut { table, is_cut: Arc::default() };
    let units = Units::new(cut.clone());
    futures_lite::future::block_on(units.want_stop("a")).unwrap();
    cut.is_cut.store(true, Ordering::SeqCst);
    assert!(matches!(units.want_run("a").wait(), Err(TableError::Unavailable(_))));
    cut.is_cut.store(false, Ordering::SeqCst);
    units.want_run("a").wait().unwrap();

    /// The first session panics.
    struct Panics(AtomicBool);
    impl SharedTable for Panics {
        fn open(&self) -> Result<Box<dyn Session>, TableError> {
            assert!(self.0.swap(true, Ordering::SeqCst), "the store has a defect");
            MemorySharedTable::new().open()
        }
    }
    let units = Units::new(Panics(AtomicBool::new(false)));
    let panicked = units.managers().wait();
    assert!(
        matches!(&panicked, Err(TableError::Unavailable(error))
            if error.to_string() == "it panicked: the store has a defect"),
        "{panicked:?}"
    );
    assert_eq!(units.managers().wait().unwrap(), []);
}
