//! The places where foreign code can run.

use std::future::{pending, poll_fn};
use std::panic::resume_unwind;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::stream;
use procession::{Clock, Inline, Job, Limited, ManualClock, Periodic, Process, Sleep};
use procession_tests::foreign::keep;

use crate::LIMIT;
use crate::clock::{Call, periodic};
use crate::scene::{Failed, Scene};

/// Puts foreign code into a process.
type Put = fn(&Scene, Process);

/// The name of each place, and the function that puts foreign code there.
pub(crate) const PLACES: &[(&str, Put)] = &[
    // The drop of a value that a process holds.
    ("drop: captured by a hook", |scene, faulty| hold(scene, &faulty)),
    ("drop: captured by a hook, with the last handle", |scene, faulty| {
        hold(scene, &faulty);
        faulty.close();
        drop(faulty);
    }),
    ("drop: captured by a hook, with the last waiter", |scene, faulty| {
        hold(scene, &faulty);
        let closed = faulty.close();
        drop(faulty);
        drop(closed);
    }),
    ("drop: captured by a hook, after a blocking teardown", |scene, faulty| {
        hold(scene, &faulty);
        faulty.set_teardown(|| ()).unwrap();
    }),
    ("drop: captured by a hook, after an async teardown", |scene, faulty| {
        hold(scene, &faulty);
        faulty.set_teardown_async(|| async {}).unwrap();
    }),
    ("drop: captured by a hook, after an inline teardown", |scene, _| {
        let faulty = Process::builder().parent(&scene.app).spawner(Inline).teardown(|| ());
        hold(scene, &faulty.build().unwrap());
    }),
    ("drop: captured by a hook, after a thread body", |scene, faulty| {
        hold(scene, &faulty.spawn_thread(|p| p.closing().wait()).unwrap());
    }),
    ("drop: captured by a hook, after an async body", |scene, faulty| {
        hold(scene, &faulty.spawn(|p| async move { p.closing().await }).unwrap());
    }),
    ("drop: a spawner", |scene, _| {
        let held = scene.dropped();
        let spawner = move |job: Job| {
            keep(&held);
            thread::spawn(move || job.run());
        };
        let faulty = Process::builder().parent(&scene.app).spawner(spawner);
        faulty.teardown_async(|| async {}).build().unwrap();
    }),
    ("drop: the error of a teardown", |scene, faulty| {
        let error = Failed(Box::new(scene.dropped()));
        faulty.set_teardown(move || Err(error)).unwrap();
    }),
    ("drop: the error of an async teardown", |scene, faulty| {
        let error = Failed(Box::new(scene.dropped()));
        faulty.set_teardown_async(move || async move { Err(error) }).unwrap();
    }),
    ("drop: the error of a thread body", |scene, faulty| {
        let error = Failed(Box::new(scene.dropped()));
        faulty.spawn_thread(move |_| Err(error)).unwrap();
    }),
    ("drop: the error of an async body", |scene, faulty| {
        let error = Failed(Box::new(scene.dropped()));
        faulty.spawn(move |_| async move { Err(error) }).unwrap();
    }),
    ("drop: the panic payload of a teardown", |scene, faulty| {
        let payload = Box::new(scene.dropped());
        faulty.set_teardown(move || resume_unwind(payload)).unwrap();
    }),
    ("drop: the panic payload of an async teardown", |scene, faulty| {
        let payload = Box::new(scene.dropped());
        let teardown = move || async move {
            resume_unwind(payload);
        };
        faulty.set_teardown_async(teardown).unwrap();
    }),
    ("drop: the panic payload of a thread body", |scene, faulty| {
        let payload = Box::new(scene.dropped());
        faulty.spawn_thread(move |_| resume_unwind(payload)).unwrap();
    }),
    ("drop: the panic payload of an async body", |scene, faulty| {
        let payload = Box::new(scene.dropped());
        let body = move |_| async move {
            resume_unwind(payload);
        };
        faulty.spawn(body).unwrap();
    }),
    // The drop of the captures of a body or a teardown.
    ("drop: captured by a blocking teardown", |scene, faulty| {
        let held = scene.dropped();
        faulty.set_teardown(move || drop(held)).unwrap();
    }),
    ("drop: captured by an async teardown that makes no future", |scene, faulty| {
        let held = scene.dropped();
        let teardown = move || {
            drop(held);
            async {}
        };
        faulty.set_teardown_async(teardown).unwrap();
    }),
    ("drop: captured by the future of an async teardown", |scene, faulty| {
        let held = scene.dropped();
        faulty.set_teardown_async(move || poll_fn(move |_| ready(&held))).unwrap();
    }),
    ("drop: captured by a teardown of a process that is not built", |scene, _| {
        let (held, closed) = (scene.dropped(), Process::new());
        closed.close();
        let refused = Process::builder().parent(&closed).teardown(move || keep(&held));
        scene.guarded(|| assert!(refused.build().is_err()));
    }),
    ("drop: captured by a second teardown", |scene, faulty| {
        let held = scene.dropped();
        faulty.set_teardown(|| ()).unwrap();
        scene.guarded(|| assert!(faulty.set_teardown(move || keep(&held)).is_err()));
    }),
    ("drop: captured by a thread body", |scene, faulty| {
        let held = scene.dropped();
        faulty.spawn_thread(move |p| wait_with(p, held)).unwrap();
    }),
    ("drop: captured by the future of an async body", |scene, faulty| {
        let held = scene.dropped();
        faulty.spawn(move |_| poll_fn(move |_| ready(&held))).unwrap();
    }),
    ("drop: captured by the future of an async body that is aborted", |scene, faulty| {
        let (held, polled) = (scene.dropped(), scene.tells());
        let body = move |_| async move {
            polled();
            pending::<()>().await;
            keep(&held);
        };
        let body = faulty.spawn(body).unwrap();
        scene.wait();
        body.abort();
        scene.wait();
    }),
    ("drop: captured by a job that its spawner drops", |scene, _| {
        let held = scene.dropped();
        let faulty = Process::builder().parent(&scene.app).spawner(drop::<Job>).build().unwrap();
        faulty.spawn(move |_| async move { keep(&held) }).unwrap();
    }),
    ("drop: captured by a body that its process refuses", |scene, faulty| {
        let held = scene.dropped();
        faulty.close();
        scene.guarded(|| assert!(faulty.spawn(move |_| async move { keep(&held) }).is_err()));
    }),
    ("drop: captured by a future of close_when", |scene, faulty| {
        let held = scene.dropped();
        let watched = async move {
            pending::<()>().await;
            keep(&held);
        };
        faulty.close_when(watched).unwrap();
    }),
    ("drop: captured by a future of wait_for_future", |scene, faulty| {
        let held = scene.dropped();
        faulty.wait_for_future(poll_fn(move |_| ready(&held))).unwrap();
    }),
    ("drop: captured by the body of a periodic process", |scene, faulty| {
        let held = scene.dropped();
        let hourly = Periodic::every(Duration::from_secs(3600));
        hourly.spawn_thread(&faulty, move |_| keep(&held)).unwrap();
    }),
    ("drop: a stream", |scene, faulty| {
        let held = scene.dropped();
        let ticks = stream::poll_fn(move |_| {
            keep(&held);
            Poll::<Option<()>>::Pending
        });
        Periodic::on(ticks).spawn_thread(&faulty, |_| ()).unwrap();
    }),
    ("drop: a clock", |scene, faulty| periodic(scene, &faulty, Call::Drop)),
    // Wakers, woken or dropped.
    ("wake: closing", |scene, faulty| scene.poll(faulty.closing(), scene.wakes())),
    ("wake: closed", |scene, faulty| scene.poll(faulty.closed(), scene.wakes())),
    ("wake: aborting", |scene, faulty| scene.poll(faulty.aborting(), scene.wakes())),
    ("wake: closing of the parent", |scene, _| scene.poll(scene.app.closing(), scene.wakes())),
    ("wake: closed of the parent", |scene, _| scene.poll(scene.app.closed(), scene.wakes())),
    ("wake: acquire", |scene, faulty| acquire(scene, &faulty, scene.wakes(), false)),
    ("wake: acquire, by a slot that is free", |scene, faulty| {
        acquire(scene, &faulty, scene.wakes(), true);
    }),
    ("wake: a manual clock", |scene, _| sleep(scene, scene.wakes())),
    ("drop: the waker of closing", |scene, faulty| scene.poll(faulty.closing(), scene.drops())),
    ("drop: the waker of closed", |scene, faulty| scene.poll(faulty.closed(), scene.drops())),
    ("drop: the waker of aborting", |scene, faulty| scene.poll(faulty.aborting(), scene.drops())),
    ("drop: the waker of acquire", |scene, faulty| {
        acquire(scene, &faulty, scene.drops(), false);
    }),
    ("drop: the waker of a manual clock", |scene, _| sleep(scene, scene.drops())),
    ("drop: the waker of closing that goes", |scene, faulty| scene.go(closing(&faulty))),
    ("drop: the waker of closing that is replaced", |scene, faulty| {
        scene.replace(closing(&faulty));
    }),
    ("drop: the waker of closed that goes", |scene, faulty| scene.go(closed(&faulty))),
    ("drop: the waker of closed that is replaced", |scene, faulty| {
        scene.replace(closed(&faulty));
    }),
    ("drop: the waker of aborting that goes", |scene, faulty| scene.go(aborting(&faulty))),
    ("drop: the waker of aborting that is replaced", |scene, faulty| {
        scene.replace(aborting(&faulty));
    }),
    ("drop: the waker of acquire that goes", |scene, faulty| {
        let limited = Limited::new(&faulty, 1).unwrap();
        let _slot = limited.try_acquire().unwrap();
        scene.go(Box::pin(async move { drop(limited.acquire().await) }));
    }),
    ("drop: the waker of acquire that is replaced", |scene, faulty| {
        let limited = Limited::new(&faulty, 1).unwrap();
        let _slot = limited.try_acquire().unwrap();
        scene.replace(Box::pin(async move { drop(limited.acquire().await) }));
    }),
    ("drop: the waker of a manual clock's sleeper that goes", |scene, _| {
        let clock = ManualClock::new();
        scene.go(clock.sleep_until(clock.now() + LIMIT));
    }),
    ("drop: the waker of a manual clock's sleeper that is replaced", |scene, _| {
        let clock = ManualClock::new();
        scene.replace(clock.sleep_until(clock.now() + LIMIT));
    }),
    // Calls.
    ("call: a hook", |scene, faulty| {
        let acts = scene.acts();
        faulty.on_failure(move |_, _| acts());
        faulty.set_teardown(|| Err("failed")).unwrap();
    }),
    ("call: a spawner, with a blocking teardown", |scene, _| {
        let faulty = Process::builder().parent(&scene.app).spawner(spawner(scene));
        faulty.teardown(|| ()).build().unwrap();
    }),
    ("call: a spawner, with an async teardown", |scene, _| {
        let faulty = Process::builder().parent(&scene.app).spawner(spawner(scene));
        faulty.teardown_async(|| async {}).build().unwrap();
    }),
    ("call: a spawner, with an async body", |scene, _| {
        let faulty = Process::builder().parent(&scene.app).spawner(spawner(scene));
        let _ = faulty.spawn(|p| async move { p.closing().await });
    }),
    ("call: the body of a periodic process", |scene, faulty| {
        let acts = scene.acts();
        let body = move |_: Process| acts();
        Periodic::on(stream::repeat(())).spawn_thread(&faulty, body).unwrap();
        scene.wait();
    }),
    ("call: the async body of a periodic process", |scene, faulty| {
        let acts = scene.acts();
        let body = move |_: Process| {
            acts();
            async {}
        };
        Periodic::on(stream::repeat(())).spawn(&faulty, body).unwrap();
        scene.wait();
    }),
    ("call: a stream", |scene, faulty| {
        let acts = scene.acts();
        let ticks = stream::poll_fn(move |_| {
            acts();
            Poll::<Option<()>>::Pending
        });
        Periodic::on(ticks).spawn_thread(&faulty, |_| ()).unwrap();
        scene.wait();
    }),
    ("call: a clock's now, at the start", |scene, faulty| {
        periodic(scene, &faulty, Call::Now(0));
        scene.wait();
    }),
    ("call: a clock's now, after a call", |scene, faulty| {
        periodic(scene, &faulty, Call::Now(1));
        scene.wait();
    }),
    ("call: a clock's sleep_until", |scene, faulty| {
        periodic(scene, &faulty, Call::SleepUntil);
        scene.wait();
    }),
    ("call: the poll of a clock's sleep", |scene, faulty| {
        periodic(scene, &faulty, Call::Poll);
        scene.wait();
    }),
    ("drop: a clock's sleep", |scene, faulty| {
        periodic(scene, &faulty, Call::DropSleep);
        scene.wait();
    }),
    ("call: the future of close_when", |scene, faulty| {
        let acts = scene.acts();
        faulty.close_when(async move { acts() }).unwrap();
        scene.wait();
    }),
    ("call: the future of wait_for_future", |scene, faulty| {
        let acts = scene.acts();
        faulty.wait_for_future(async move { acts() }).unwrap();
        scene.wait();
    }),
];

fn closing(process: &Process) -> Sleep {
    Box::pin(process.closing())
}

fn closed(process: &Process) -> Sleep {
    let closed = process.closed();
    Box::pin(async move { drop(closed.await) })
}

fn aborting(process: &Process) -> Sleep {
    let aborting = process.aborting();
    Box::pin(async move {
        aborting.await;
    })
}

/// Makes a hook of the process own a value.
fn hold(scene: &Scene, process: &Process) {
    let held = scene.dropped();
    process.on_failure(move |_, _| keep(&held));
}

fn ready<T>(held: &T) -> Poll<()> {
    keep(held);
    Poll::Ready(())
}

fn wait_with<T>(process: Process, held: T) {
    process.closing().wait();
    drop(held);
}

fn spawner(scene: &Scene) -> impl Fn(Job) + Send + Sync + use<> {
    let acts = scene.acts();
    move |job: Job| {
        acts();
        thread::spawn(move || job.run());
    }
}

/// Waits for a slot with the waker.
fn acquire(scene: &Scene, faulty: &Process, waker: Waker, free: bool) {
    let limited = Limited::new(faulty, 1).unwrap();
    let slot = limited.try_acquire().unwrap();
    scene.poll(limited.acquire(), waker);
    if free {
        drop(slot);
        scene.wait();
    } else {
        scene.kept.borrow_mut().push(Box::new(slot));
    }
}

/// Sleeps on a manual clock with the waker, before others do.
fn sleep(scene: &Scene, waker: Waker) {
    let clock = ManualClock::new();
    scene.poll(clock.sleep_until(clock.now() + LIMIT), waker);
    let (tell, told) = channel();
    let other = clock.sleep_until(clock.now() + LIMIT);
    let sleeper = async move {
        other.await;
        tell.send(()).unwrap();
    };
    // The process must not close before the sleeper is woken.
    let healthy = Process::new();
    healthy.spawn(|_| sleeper).unwrap();
    clock.wait_for_sleepers(2);
    clock.advance(LIMIT);
    scene.wait();
    told.recv_timeout(LIMIT).expect("a sleeper was not woken");
    drop(healthy);
}
