//! A program that runs units until a signal closes it.

use std::process::{self, ExitCode};
use std::time::Duration;

use futures_lite::future::block_on;
use procession::{BoxError, Clock, Main, SystemClock};
use procession_inspect::MainExt;
use procession_runnable::run_in;
use procession_supervisor::shared::{OnStuck, SharedManager, Units};
use procession_supervisor::{Backoff, Policy};

use crate::Options;
use crate::store::Store;
use crate::unit::{Log, unit};
use crate::view::View;

pub(crate) fn run(options: &Options) -> Result<ExitCode, BoxError> {
    let store = Store::open(&options.table, options.ttl)?;
    let log = Log::open(options.log.as_deref())?;
    let name = options.name.clone().unwrap_or_else(|| format!("process {}", process::id()));
    let manager = {
        let (store, name) = (store.clone(), name.clone());
        SharedManager::builder(store.table())
            .name("fleet")
            .program(&name)
            .kinds(["fleet"])
            .ttl(options.ttl)
            .policy(policy())
            .on_stuck(OnStuck::ExitProgram)
            .build(move |claim| unit(claim, &store, &name, &log))
    };
    let view = View::new(name, Units::new(store.table()), store, &manager);
    let mut main = Main::new().name("fleet").grace(Duration::from_secs(30));
    if let Some(address) = options.inspect {
        let manager = manager.clone();
        main = main.inspect(move |page| page.address(address).units(manager.clone()));
    }
    let exit = main.run(|app| {
        view.show(&app)?;
        if let Some(limit) = options.limit {
            app.close_when(SystemClock.sleep(limit))?;
        }
        block_on(run_in(&app, &manager.runnable(), |body| async move { body.closing().await }))?;
        procession::ok()
    });
    Ok(exit.into())
}

fn policy() -> Policy {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
    Policy::new().grace(Duration::from_secs(3)).backoff(backoff)
}
