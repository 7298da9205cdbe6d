//! What a shared manager shows of its units: owner and tokens.

use procession_supervisor::HasUnits;
use procession_supervisor::shared::{SharedManager, SharedTable};

use crate::support::*;

#[test]
fn a_shared_manager_shows_its_number_and_the_tokens_of_its_claims() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let of_units = log.clone();
    let builder = SharedManager::builder(table.clone()).program("web-3");
    let manager = builder.build(move |claim| Ok(logged(&of_units, claim)));
    let before = manager.overview(10).owner.unwrap();
    assert_eq!((&*before.program, before.manager), ("web-3", None));
    let root = started(&manager);
    for key in ["a", "b"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    let overview = manager.overview(10);
    let registered = table.open().unwrap().managers().unwrap();
    assert_eq!(overview.owner.unwrap().manager, Some(registered[0].manager.get()));
    let tokens: Vec<_> = overview.units.iter().map(|unit| unit.token).collect();
    let of_rows = ["a", "b"].map(|key| Some(row(&table, key).token.get()));
    assert_eq!(tokens, of_rows);
    root.close_blocking().unwrap();
    assert!(manager.overview(10).units.is_empty());
    // Another claim has another token.
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready);
    let again = manager.overview(10);
    assert_eq!(again.units[0].token, Some(row(&table, "a").token.get()));
    assert!(again.units[0].token > tokens[0]);
    root.close_blocking().unwrap();
    log.check();
}
