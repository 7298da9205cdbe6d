//! The managers and sets of procession-supervisor as sources.

use std::sync::Arc;
use std::time::Duration;

use procession_supervisor::{HasUnits, Overview, State, Status};

use super::{Source, UNITS};
use crate::page::model::{At, Manager, Owner, Unit};
use crate::page::summary::millis;
use crate::page::texts::Texts;

/// Asks the manager for its units.
pub(crate) fn source(units: impl HasUnits) -> Source {
    Arc::new(move |texts, at| shown(units.overview(UNITS), texts, at))
}

fn shown(overview: Overview, texts: &Texts, at: At) -> (Manager, Vec<Unit>) {
    let counts = overview.counts;
    let name = texts.short(&overview.name);
    let of_unit = |unit: &Status<Arc<str>>| of_unit(unit, &name, texts, at);
    let units: Vec<Unit> = overview.units.iter().take(UNITS).map(of_unit).collect();
    let owner = overview
        .owner
        .map(|owner| Owner { program: texts.short(&owner.program), manager: owner.manager });
    let manager = Manager {
        owner,
        units: counts.units,
        starting: counts.starting,
        running: counts.running,
        stopping: counts.stopping,
        stuck: counts.stuck,
        waiting: counts.waiting,
        ended: counts.ended,
        idle: counts.idle,
        name,
    };
    (manager, units)
}

fn of_unit(unit: &Status<Arc<str>>, manager: &str, texts: &Texts, at: At) -> Unit {
    let after = |time: Duration| At(at.0.saturating_add(millis(time)));
    Unit {
        manager: manager.to_owned(),
        key: texts.unit(&unit.key),
        state: state(unit.state),
        since: At(at.0.saturating_sub(millis(unit.elapsed()))),
        restarts: unit.restarts,
        restart_at: unit.restarts_in().map(after),
        deadline_at: unit.deadline_in().map(after),
        aborted: unit.aborted,
        error: unit.last_error.as_ref().map(|error| texts.unit_error(&error.with_causes())),
        token: unit.token,
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Initial => "initial",
        State::Loading => "loading",
        State::Starting => "starting",
        State::Running => "running",
        State::Stopping => "stopping",
        State::Stuck => "stuck",
        State::Waiting => "waiting",
        State::Ended => "ended",
        State::GivenUp => "given_up",
        State::Stopped => "stopped",
        _ => "unknown",
    }
}
