//! A network between one program and the database, which can be cut: then it forwards nothing, and closes nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

pub(crate) struct Proxy {
    /// The URL of the database through this proxy.
    pub(crate) url: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    is_cut: Mutex<bool>,
    healed: Condvar,
}

impl Proxy {
    /// A proxy to the server that listens in this directory.
    pub(crate) fn to(url: &str) -> Self {
        // postgres://user@directory/database
        let (user, rest) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
        let (directory, database) = rest.split_once('/').unwrap();
        let socket = PathBuf::from(directory.replace("%2F", "/")).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Arc::new(Gate::default());
        let of_thread = gate.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                let (to_client, to_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (one, other) = (of_thread.clone(), of_thread.clone());
                thread::spawn(move || {
                    one.forward(client, &to_server);
                    let _ = to_server.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    other.forward(server, &to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { url: format!("postgres://{user}@127.0.0.1:{port}/{database}"), gate }
    }

    pub(crate) fn cut(&self) {
        *self.gate.is_cut.lock().unwrap() = true;
    }

    pub(crate) fn heal(&self) {
        *self.gate.is_cut.lock().unwrap() = false;
        self.gate.healed.notify_all();
    }
}

impl Gate {
    fn forward(&self, mut from: impl Read, mut to: impl Write) {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let is_cut = self.is_cut.lock().unwrap();
            drop(self.healed.wait_while(is_cut, |is_cut| *is_cut).unwrap());
            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
}
