//! [`Report`] and [`Case`]: the results of a sweep.

use std::fmt;

use procession::{Error, Event};

use super::case::Run;
use super::fault::Fault;
use super::target::Target;

/// The result of a sweep that found no failure. Its `Display` is one line.
#[derive(Clone, Debug)]
pub struct Report {
    processes: usize,
    cases: Vec<Case>,
    missed: Vec<Case>,
}

/// One run of a sweep. Its `Display` shows the process and the fault.
#[derive(Clone, Debug)]
pub struct Case {
    target: Option<(Target, Fault)>,
    outcome: Result<(), Error>,
    events: Vec<Event>,
    was_struck: bool,
}

impl Report {
    pub(super) fn new(processes: usize) -> Self {
        Self { processes, cases: Vec::new(), missed: Vec::new() }
    }

    pub(super) fn add(&mut self, case: Case, was_struck: bool) {
        let list = if was_struck { &mut self.cases } else { &mut self.missed };
        list.push(case);
    }

    /// The number of runs, including the one without a fault.
    #[must_use]
    pub fn runs(&self) -> usize {
        1 + self.cases.len() + self.missed.len()
    }

    /// The number of processes in the run without a fault, including the root.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// The cases in which the fault struck.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The cases in which the fault did not strike, because the run had no such process.
    #[must_use]
    pub fn missed(&self) -> &[Case] {
        &self.missed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (runs, processes, cases) = (self.runs(), self.processes, self.cases.len());
        write!(f, "{runs} runs of {processes} processes; faults have struck in {cases} of them")?;
        for (index, missed) in self.missed.iter().enumerate() {
            write!(f, "{} {missed}", if index == 0 { "; missed:" } else { "," })?;
        }
        Ok(())
    }
}

impl Case {
    pub(super) fn of<R>(run: &Run<R>, target: Option<&(Target, Fault)>) -> Self {
        Self {
            target: target.cloned(),
            outcome: run.outcome.clone(),
            events: run.events.clone(),
            was_struck: run.was_struck,
        }
    }

    /// The path of the process that the fault was meant for, as [`Sweep::only`](super::Sweep::only) takes it; empty in
    /// the run without a fault.
    #[must_use]
    pub fn path(&self) -> String {
        self.target.as_ref().map(|(target, _)| target.to_string()).unwrap_or_default()
    }

    /// The fault; `None` in the run without one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.target.as_ref().map(|(_, fault)| *fault)
    }

    /// Did the fault strike?
    #[must_use]
    pub fn was_struck(&self) -> bool {
        self.was_struck
    }

    /// The outcome of the root.
    ///
    /// # Errors
    ///
    /// Those of the outcome.
    pub fn outcome(&self) -> Result<(), Error> {
        self.outcome.clone()
    }

    /// The events of the run.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some((target, fault)) => write!(f, "process `{target}`: {fault}"),
            None => f.write_str("without a fault"),
        }
    }
}
