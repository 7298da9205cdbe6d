//! A gRPC server with the health service, in an ordered stack.

use procession::{BoxError, Process};
use procession_runnable::{named, run_in, sequential, server, start_stop};
use tonic::service::Routes;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (_reporter, health) = tonic_health::server::health_reporter();
    let database = start_stop(
        |_| async { println!("1. the database is open") },
        || async { println!("3. the database is closed, after the server") },
    );
    let grpc = server::tonic("127.0.0.1:0", Routes::new(health));
    let stack = sequential([named("database", database), named("grpc", grpc)]);

    let app = Process::builder().name("app").build()?;
    run_in(&app, &stack, |_| async { println!("2. serving") }).await?;
    Ok(())
}
