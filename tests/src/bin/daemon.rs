//! Run by the tests in `main.rs`: a daemon whose body does what the second argument says. The first argument names the
//! executor that drives `main_async`, or is `thread` for `main`.

#![forbid(unsafe_code)]

use std::time::Duration;

use procession::{Error, Exit, Main, Process};

fn main() -> Exit {
    let mut arguments = std::env::args().skip(1);
    let (face, what) = (arguments.next().unwrap(), arguments.next().unwrap());
    let main = match what.as_str() {
        "grace" | "own-grace" => Main::new().grace(Duration::from_millis(30)),
        _ => Main::new(),
    };
    match face.as_str() {
        "thread" => main.run(|p| body(&p, &what)),
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            runtime.block_on(main.run_async(|p| async move { body(&p, &what) }))
        }
        "smol" => smol::block_on(main.run_async(|p| async move { body(&p, &what) })),
        "none" => futures_lite::future::block_on(async {
            if what == "grace" || what == "own-grace" {
                return main.run_async(|p| async move { body(&p, &what) }).await;
            }
            procession::main_async(|p| async move { body(&p, &what) }).await
        }),
        other => panic!("{other}"),
    }
}

fn body(p: &Process, what: &str) -> Result<(), Error> {
    println!("name: {}", p.name().unwrap());
    p.set_teardown(|| println!("torn down"))?;
    match what {
        "ok" => {}
        // After `Ok`, the children finish.
        "children" => {
            let child = p.spawn(|p| async move {
                for _ in 0..10_000 {
                    futures_lite::future::yield_now().await;
                }
                println!("child is closing: {}", p.is_closing());
            });
            drop(child?);
        }
        "error" => p.spawn_thread(|_| Err("disk full"))?.closed().wait()?,
        "panic" => panic!("out of paper"),
        "serve" => {
            p.spawn_thread(|worker| worker.closing().wait())?;
        }
        "stubborn" | "grace" => {
            p.spawn_thread(|worker| {
                worker.closing().wait();
                println!("closing");
                worker.aborting().wait();
            })?;
        }
        "own-grace" => {
            p.spawn_thread(|worker| assert!(worker.aborting().wait()))?;
            p.close();
        }
        "hang" => {
            p.spawn_thread(|worker| {
                worker.aborting().wait();
                println!("hanging");
                loop {
                    std::thread::park();
                }
            })?;
        }
        other => panic!("{other}"),
    }
    println!("ready");
    Ok(())
}
