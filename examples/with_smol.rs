//! Bodies and teardowns on smol. Any other executor is as good: see the example `spawner`.

use procession::{BoxError, Process, Smol};
use smol::channel::bounded;

fn main() -> Result<(), BoxError> {
    let app = Process::builder()
        .name("app")
        .spawner(Smol)
        .teardown_async(|| async { println!("3. torn down") })
        .build()?;
    let (send, receive) = bounded(8);

    // Only the producer listens to closing. The consumer ends when the channel does, so it gets every number.
    app.spawn(|p| async move {
        for number in 1_u64.. {
            if p.is_closing() || send.send(number).await.is_err() {
                break;
            }
        }
        println!("1. the producer has ended");
    })?;
    app.spawn(|_| async move {
        let mut count = 0_u64;
        while let Ok(number) = receive.recv().await {
            count += 1;
            assert_eq!(number, count);
        }
        println!("2. the consumer has every number");
    })?;

    smol::block_on(async {
        smol::Timer::after(std::time::Duration::from_millis(5)).await;
        app.close().await
    })?;
    Ok(())
}
