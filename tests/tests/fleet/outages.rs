//! A PostgreSQL database that is away, restarts, or is cut off.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use procession_supervisor::shared::UnitRow;
use procession_test_postgres::{Binaries, Cluster, binaries};
use procession_tests::fleet::{Fleet, now};

use crate::places::{Place, TTL as TTL_ARGUMENT, TTL_SECONDS};
use crate::proxy::Proxy;

const TTL: Duration = Duration::from_secs(TTL_SECONDS);
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const NAMES: [&str; 3] = ["one", "two", "three"];

fn fleet(place: &Place, spec: &str) -> Fleet {
    fleet_with(place, spec, TTL_ARGUMENT)
}

fn fleet_with(place: &Place, spec: &str, ttl: &str) -> Fleet {
    let mut fleet = place.fleet_with(ttl);
    fleet.put(&KEYS, spec);
    NAMES.iter().for_each(|name| fleet.start(name));
    fleet.wait_until_shared();
    fleet
}

/// Lets this time pass.
fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// A busy machine can hold a program up for longer than its lease lasts, so one of three attempts has to be in time. An
/// attempt that is not returns what was late.
fn in_time<T: std::fmt::Debug>(attempt: impl Fn() -> Result<(), T>) {
    let mut late = Vec::new();
    for _ in 0..3 {
        match attempt() {
            Ok(()) => return,
            Err(what) => late.push(what),
        }
    }
    panic!("{late:?}");
}

#[test]
fn while_the_database_is_away_all_units_close_before_their_leases_end_and_come_back_once() {
    let Some(binaries) = binaries() else { return };
    in_time(|| {
        let (after, starts) = away(binaries);
        // A unit may move once while the programs come back one after the other.
        let is_in_time = after < TTL && starts.iter().all(|starts| (1..=2).contains(starts));
        if is_in_time { Ok(()) } else { Err((after, starts)) }
    });
}

/// Takes the database away for twice the time to live. Returns how long afterwards the last unit ended, and the number
/// of starts of each unit when it was back.
fn away(binaries: &'static Binaries) -> (Duration, Vec<usize>) {
    let mut cluster = Cluster::start(binaries, &["fsync=off"]);
    let place = Place::postgres_on(cluster.url());
    let mut fleet = fleet(&place, "idle");
    let tokens: u64 = fleet.wait_until_all_run().iter().map(|row| row.token.get()).sum();
    let before = fleet.log().len();
    cluster.stop();
    // No lease is renewed after this.
    let stopped = now();
    fleet.wait_for_log("the ends of all units", |lines| {
        lines[before..].iter().filter(|line| line.what == "end").count() == KEYS.len()
    });
    pass((2 * TTL).saturating_sub(Duration::from_micros(now() - stopped)));
    let log = fleet.log();
    let ends: Vec<_> = log[before..].iter().filter(|line| line.what == "end").collect();
    assert_eq!(ends.len(), KEYS.len(), "{log:?}");
    let after = Duration::from_micros(ends.iter().map(|line| line.at).max().unwrap() - stopped);
    cluster.resume();
    fleet.wait("all units to come back", |rows| {
        rows.len() == KEYS.len()
            && rows.iter().all(|row| row.is_ready)
            && rows.iter().map(|row| row.token.get()).sum::<u64>() > tokens
            // Programs that live have not crashed, and say so when they register again.
            && rows.iter().all(|row| row.crashes == 0)
    });
    fleet.end_all();
    fleet.check();
    let log = fleet.log();
    let starts = |key: &str| {
        log[before..].iter().filter(|line| line.what == "start" && line.unit == key).count()
    };
    (after, KEYS.map(starts).to_vec())
}

#[test]
fn no_unit_is_lost_when_the_database_restarts_and_all_connections_end_again_and_again() {
    let Some(binaries) = binaries() else { return };
    let mut cluster = Cluster::start(binaries, &["fsync=off"]);
    let place = Place::postgres_on(cluster.url());
    // Long enough for every lease to survive.
    let mut fleet = fleet_with(&place, "count", "10s");
    let tokens = |rows: &[UnitRow]| rows.iter().map(|row| row.token).collect::<Vec<_>>();
    let before = tokens(&fleet.wait_until_shared());
    let begun = Instant::now();
    let mut has_restarted = false;
    while begun.elapsed() < Duration::from_secs(60) {
        pass(Duration::from_secs(1));
        if !has_restarted && begun.elapsed() > Duration::from_secs(30) {
            cluster.stop();
            cluster.resume();
            has_restarted = true;
        }
        let mut client = Client::connect(cluster.url(), NoTls).unwrap();
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
            where pid <> pg_backend_pid() and backend_type = 'client backend'";
        client.query_one(kill, &[]).unwrap();
    }
    assert_eq!(tokens(&fleet.wait_until_all_run()), before, "no lease has ended");
    let counted = place.counts().len();
    fleet.wait("all counters to go on", |_| place.counts().len() > counted + 2 * KEYS.len());
    fleet.end_all();
    fleet.check();
    place.check_counts();
    let units: Vec<String> = place.counts().into_iter().map(|(unit, ..)| unit).collect();
    assert!(KEYS.iter().all(|key| units.iter().any(|unit| unit == key)), "{units:?}");
}

/// Units that can stop do so in time. Those that are blocked in a call to the database cannot, so their program ends.
#[test]
fn a_program_that_is_cut_off_stops_before_its_units_run_elsewhere_and_its_late_writes_are_refused()
{
    let Some(binaries) = binaries() else { return };
    in_time(|| {
        let (last_end, exit) = cut_off(binaries);
        let is_in_time = last_end < TTL && exit < TTL + Duration::from_millis(500);
        if is_in_time { Ok(()) } else { Err((last_end, exit)) }
    });
}

/// Cuts a program off. Returns how long afterwards the last unit that can stop has ended, and the program.
fn cut_off(binaries: &'static Binaries) -> (Duration, Duration) {
    let cluster = Cluster::start(binaries, &["fsync=off"]);
    let place = Place::postgres_on(cluster.url());
    let proxy = Proxy::to(&place.argument());
    let mut fleet = place.fleet();
    let (idle, counting) = KEYS.split_at(KEYS.len() / 2);
    fleet.put(idle, "idle");
    fleet.put(counting, "count");
    fleet.start_on("cut", &proxy.url);
    fleet.wait_until_all_run();
    let (program, before) = (fleet.id("cut"), fleet.log().len());
    proxy.cut();
    let cut = now();
    fleet.start("one");
    fleet.start("two");
    fleet.wait_for_log("the ends of units that are not blocked", |lines| {
        let ends = lines[before..].iter().filter(|line| line.what == "end");
        ends.filter(|line| line.program == program).count() == idle.len()
    });
    let ends = fleet.log().into_iter().filter(|line| line.what == "end" && line.at > cut);
    let last = ends.map(|line| line.at).max().unwrap();
    let last_end = Duration::from_micros(last - cut);
    assert_eq!(fleet.wait_for_an_end(), [("cut".to_owned(), Some(70))]);
    let exit = Duration::from_micros(now() - cut);
    fleet.wait("the move", |rows| rows.iter().all(|row| row.is_ready && row.token.get() > 1));
    // Whatever was on its way arrives now.
    let counted = place.counts().len();
    proxy.heal();
    fleet.start_on("cut", &proxy.url);
    fleet.wait("the program to come back", |_| {
        !fleet.units_of("cut").is_empty() && place.counts().len() > counted + 2 * KEYS.len()
    });
    fleet.wait_until_all_run();
    fleet.end_all();
    fleet.check();
    place.check_counts();
    (last_end, exit)
}
