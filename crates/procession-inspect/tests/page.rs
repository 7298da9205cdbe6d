//! The page over real sockets.

#![cfg(not(loom))]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use procession::{Main, Process};
use procession_inspect::{Inspect, MainExt};
use procession_runnable::Start;

/// Long, because machines are slow.
const LIMIT: Duration = Duration::from_secs(60);

/// The policy of the page, without the sums.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

struct Served {
    app: Process,
    page: Process,
    address: SocketAddr,
    token: Option<String>,
}

fn serve(settings: impl FnOnce(Inspect) -> Inspect) -> Served {
    let app = Process::builder().name("secret-app").build().unwrap();
    let (sender, receiver) = mpsc::channel();
    let page = Inspect::new(&app).address(([127, 0, 0, 1], 0));
    let page = settings(page).on_ready(move |url| sender.send(url.to_owned()).unwrap());
    let (start, readiness) = Start::under(&app);
    let page = page.runnable().unwrap().start(start.named("page")).unwrap();
    futures_lite::future::block_on(readiness).unwrap();
    let url = receiver.recv_timeout(LIMIT).unwrap();
    let rest = url.strip_prefix("http://").unwrap();
    let (address, rest) = rest.split_once('/').unwrap();
    let token = rest.strip_prefix("?token=").map(str::to_owned);
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    Served { app, page, address: ([127, 0, 0, 1], port).into(), token }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

/// Sends these bytes, and reads the answer until the connection ends.
fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let head = head.replace("\r\n", "\n");
    let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
    Answer { status, head, body: body.to_owned() }
}

fn get(served: &Served, path: &str, headers: &str) -> Answer {
    request(served, "GET", path, &format!("host: localhost\r\n{headers}"))
}

fn request(served: &Served, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    let answer = raw(served.address, &request);
    for (name, value) in HEADERS {
        assert_eq!(answer.header(name), Some(value), "{request} {}", answer.head);
    }
    let policy = answer.header("content-security-policy").unwrap();
    let parts: Vec<&str> = policy.split("; ").collect();
    assert_eq!(parts[0], "default-src 'none'");
    if parts.len() > 3 {
        assert!(
            parts[1].starts_with("script-src 'sha256-")
                && parts[2].starts_with("style-src 'sha256-")
        );
        let rest = [
            "connect-src 'self'",
            "form-action 'self'",
            "img-src data:",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ];
        assert_eq!(parts[3..], rest);
    }
    assert!(!answer.head.contains("access-control"));
    answer
}

#[test]
fn only_the_page_itself_may_ask() {
    let served = serve(|page| page.allow_host("web-3.internal"));
    let host = |host: &str| format!("host: {host}\r\n");
    for known in [
        "localhost",
        "localhost:1",
        "127.0.0.1",
        "[::1]:80",
        "10.0.0.7:7777",
        "web-3.internal:80",
        "LOCALHOST",
    ] {
        assert_eq!(request(&served, "GET", "/", &host(known)).status, 200, "{known}");
    }
    let refused = [
        (421, "GET", "/", host("evil.test")),
        (421, "GET", "/", host("localhost.evil.test")),
        (421, "GET", "/", host("web-3.internal.evil.test")),
        (400, "GET", "/", host("localhost") + &host("evil.test")),
        (400, "GET", "/", String::new()),
        (403, "GET", "/snapshot.json", host("localhost") + "origin: http://evil.test\r\n"),
        (403, "GET", "/snapshot.json", host("localhost") + "origin: null\r\n"),
        (403, "GET", "/snapshot.json", host("localhost") + "origin: https://localhost\r\n"),
        (403, "GET", "/snapshot.json", host("localhost") + "sec-fetch-site: cross-site\r\n"),
        (403, "GET", "/snapshot.json", host("localhost") + "sec-fetch-site: same-site\r\n"),
        (
            403,
            "GET",
            "/events",
            host("localhost")
                + "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n",
        ),
        (
            403,
            "GET",
            "/",
            host("localhost")
                + "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n",
        ),
        (405, "POST", "/", host("localhost") + "content-length: 0\r\n"),
        (405, "DELETE", "/", host("localhost")),
        (405, "OPTIONS", "/", host("localhost")),
        (431, "GET", "/", host("localhost") + &format!("x: {}\r\n", "A".repeat(9 << 10))),
        (404, "GET", "/nothing", host("localhost")),
        (404, "GET", "/process/999", host("localhost")),
    ];
    for (status, method, path, headers) in refused {
        let answer = request(&served, method, path, &headers);
        assert_eq!(answer.status, status, "{method} {path} {headers}");
        assert!(!answer.body.contains("secret-app") && !answer.head.contains("secret-app"));
        if status == 421 {
            assert_eq!(answer.body, "");
        }
    }
    let own = "origin: http://localhost\r\nsec-fetch-site: same-origin\r\n";
    assert_eq!(get(&served, "/snapshot.json", own).status, 200);
    let opened =
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    assert_eq!(get(&served, "/", opened).status, 200);
    let head = request(&served, "HEAD", "/", "host: localhost\r\n");
    assert_eq!((head.status, &*head.body), (200, ""));
    served.app.close_blocking().unwrap();
}

/// The policy allows exactly the script and the style that the page has.
#[test]
fn the_policy_has_the_sums() {
    use base64::Engine;
    use sha2::Digest;
    let served = serve(|page| page);
    for path in ["/", "/units", "/graph"] {
        let page = get(&served, path, "");
        let policy = page.header("content-security-policy").unwrap();
        for (name, start, end) in
            [("script-src", "<script>", "</script>"), ("style-src", "<style>", "</style>")]
        {
            // The graph has no script.
            let Some((_, text)) = page.body.split_once(start) else { continue };
            let text = text.split_once(end).unwrap().0;
            let sum = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text));
            assert!(policy.contains(&format!("{name} 'sha256-{sum}'")), "{path} {name}");
        }
    }
    let picture = get(&served, "/timeline.svg", "");
    let expected = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    assert_eq!(picture.header("content-security-policy"), Some(expected));
    let graph = get(&served, "/graph.svg?root=1", "");
    assert_eq!(graph.header("content-security-policy"), Some(expected));
    assert_eq!(graph.header("content-type"), Some("image/svg+xml"));
    assert!(get(&served, "/graph", "").body.contains("href=\"/graph.svg?root=1\" download="));
    for unknown in ["/graph?root=999", "/graph.svg?root=999"] {
        assert_eq!(get(&served, unknown, "").status, 404, "{unknown}");
    }
    served.app.close_blocking().unwrap();
}

#[test]
fn beyond_loopback_a_token_is_needed() {
    let served = serve(|page| page.address(([0, 0, 0, 0], 0)));
    let token = served.token.clone().expect("a token in the URL");
    assert_eq!(token.len(), 32);
    for path in
        ["/", "/snapshot.json", "/events", "/?token=0123456789abcdef0123456789abcdef", "/?token="]
    {
        let answer = get(&served, path, "");
        assert_eq!(answer.status, 401, "{path}");
        assert!(!answer.body.contains("secret-app") && !answer.body.contains(&token));
    }
    let last = if token.ends_with('0') { '1' } else { '0' };
    let wrong = format!("authorization: Bearer {}{last}\r\n", &token[..31]);
    assert_eq!(get(&served, "/snapshot.json", &wrong).status, 401);
    let bearer = format!("authorization: Bearer {token}\r\n");
    assert_eq!(get(&served, "/snapshot.json", &bearer).status, 200);
    let moved = get(&served, &format!("/?token={token}"), "");
    assert_eq!((moved.status, moved.header("location")), (303, Some("/")));
    let cookie = moved.header("set-cookie").unwrap();
    let name = format!("procession_inspect_{}", served.address.port());
    assert_eq!(cookie, format!("{name}={token}; HttpOnly; SameSite=Lax; Path=/"));
    let page = get(&served, "/", &format!("cookie: a=b; {name}={token}\r\n"));
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(&token));
    served.app.close_blocking().unwrap();
}

#[test]
fn half_a_head_is_cut_off() {
    let served = serve(|page| page);
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: local").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4), "{took:?}");
    assert!(!String::from_utf8_lossy(&rest).contains("secret-app"));
    served.app.close_blocking().unwrap();
}

/// The lines of a stream.
fn stream(served: &Served, path: &str) -> (TcpStream, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let reader = BufReader::new(stream.try_clone().unwrap());
    (stream, reader)
}

fn next_event(reader: &mut BufReader<TcpStream>) -> (String, serde_json::Value) {
    let mut event = String::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        if let Some(name) = line.strip_prefix("event: ") {
            event = name.trim().to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return (event, serde_json::from_str(data).unwrap());
        }
    }
}

/// The page works during the shutdown and the teardown of the app itself, is not waited for, says bye, and ends.
#[test]
fn it_closes_last() {
    let served = serve(|page| page);
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    served.app.set_teardown(move || released.lock().unwrap().recv().unwrap()).unwrap();
    let (_stream, mut reader) = stream(&served, "/events");
    let (name, first) = next_event(&mut reader);
    assert_eq!((&*name, &first["summary"]["state"]), ("frame", &"running".into()));
    let mut seq = first["seq"].as_u64().unwrap();
    served.app.close();
    let (_, patch) = loop {
        let (name, patch) = next_event(&mut reader);
        assert_eq!(name, "patch");
        assert_eq!((patch["base"].as_u64(), patch["seq"].as_u64()), (Some(seq), Some(seq + 1)));
        seq += 1;
        if patch["summary"]["state"] == "closing" && served.page.is_closed() {
            break (name, patch);
        }
    };
    assert_eq!(patch["v"], 1);
    let began = Instant::now();
    loop {
        let json = get(&served, "/blockers.json", "").body;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let text = json["blockers"][0]["text"].as_str().unwrap_or_default();
        if json["blockers"].as_array().unwrap().len() == 1 && text.contains("teardown") {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{json}");
    }
    release.send(()).unwrap();
    served.app.closed().wait().unwrap();
    let bye = loop {
        let (name, data) = next_event(&mut reader);
        if name == "bye" {
            break data;
        }
    };
    assert_eq!((&bye["outcome"], &bye["exit_code"]), (&"ok".into(), &serde_json::Value::Null));
    reader.read_to_end(&mut Vec::new()).ok();
    // A connection that nobody accepts any more is reset when the server ends.
    while let Ok(mut queued) = TcpStream::connect(served.address) {
        queued.set_read_timeout(Some(LIMIT)).unwrap();
        let end = queued.read(&mut [0]);
        let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!end.as_ref().is_err_and(is_late), "it does not end");
    }
}

#[test]
fn a_program_waits_until_viewers_know() {
    let (sender, receiver) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let (shown, is_shown) = mpsc::channel();
    let (closed, is_closed) = mpsc::channel();
    let is_closed = std::sync::Mutex::new(is_closed);
    let reader = std::thread::spawn(move || {
        let url: String = receiver.recv_timeout(LIMIT).unwrap();
        let address = url.strip_prefix("http://").unwrap().trim_end_matches('/').parse().unwrap();
        let app = Process::new();
        let served = Served { page: app.clone(), app, address, token: None };
        let (_stream, mut reader) = stream(&served, "/events");
        next_event(&mut reader);
        shown.send(()).unwrap();
        loop {
            let (name, data) = next_event(&mut reader);
            if data["summary"]["state"] == "closed" {
                closed.send(()).unwrap();
            }
            if name == "bye" {
                return data;
            }
        }
    });
    let exit = Main::new()
        .name("app")
        .signals([])
        .quiet()
        // The last report takes a while, so the exit status becomes known later than the end of the root.
        .at_end(move |_| {
            is_closed.lock().unwrap().recv_timeout(LIMIT).unwrap();
            std::thread::sleep(Duration::from_millis(300));
        })
        .inspect(move |page| {
            let sender = sender.lock().unwrap().clone();
            page.address(([127, 0, 0, 1], 0))
                .on_ready(move |url| sender.send(url.to_owned()).unwrap())
        })
        .run(move |_| is_shown.recv_timeout(LIMIT).unwrap());
    let code = exit.code();
    assert_eq!((code, exit.result().err().map(|error| error.to_string())), (0, None));
    let bye = reader.join().unwrap();
    assert_eq!((&bye["outcome"], &bye["exit_code"]), (&"ok".into(), &0.into()));
}

#[test]
fn a_hundred_viewers() {
    let served = serve(|page| page);
    let mut viewers: Vec<_> =
        (0..100).map(|number| stream(&served, &format!("/events?q={}", number % 3))).collect();
    for (_, reader) in &mut viewers {
        assert_eq!(next_event(reader).0, "frame");
    }
    let (_, mut refused) = stream(&served, "/events");
    let mut line = String::new();
    refused.read_line(&mut line).unwrap();
    assert!(line.contains("503"), "{line}");
    viewers.pop();
    let deadline = Instant::now() + LIMIT;
    loop {
        let (stream, mut reader) = stream(&served, "/events");
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        drop(stream);
        if line.contains("200") {
            break;
        }
        assert!(Instant::now() < deadline, "the seat is not given back");
    }
    served.app.close_blocking().unwrap();
}

#[test]
fn everything_as_json() {
    let served = serve(|page| page);
    let kept: Vec<Process> = (0..1_000).map(|_| served.app.child()).collect();
    let all = raw(served.address, "GET /snapshot.json?all=1 HTTP/1.0\r\nhost: localhost\r\n\r\n");
    let json: serde_json::Value = serde_json::from_str(&all.body).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 1_002);
    let one = get(&served, "/process/1.json", "");
    let json: serde_json::Value = serde_json::from_str(&one.body).unwrap();
    assert_eq!((&json["path"], &json["edges_more"]), (&"secret-app".into(), &901.into()));
    assert_eq!(get(&served, "/process/1", "").status, 200);
    assert_eq!(get(&served, "/timeline.json", "").status, 200);
    drop(kept);
    served.app.close_blocking().unwrap();
}

/// As a part of another server, the page knows where it is, and checks only `Origin`.
#[test]
fn a_router_to_nest() {
    let app = Process::builder().name("secret-app").build().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let router = axum::Router::new().nest("/debug/page", Inspect::new(&app).router());
    let outer = Process::builder().name("outer").spawner(runtime.handle().clone()).build().unwrap();
    let (sender, receiver) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let bind = move || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        sender.lock().unwrap().send(listener.local_addr()?).unwrap();
        Ok(listener)
    };
    let http = procession_runnable::server::axum(bind, router);
    let _http = http.start(Start::under(&outer).0).unwrap();
    let address = receiver.recv_timeout(LIMIT).unwrap();
    let served = Served { page: app.clone(), app, address, token: None };
    let page = request(&served, "GET", "/debug/page", "host: example.test\r\n");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("href=\"/debug/page/process/1\""), "{}", page.body);
    let refused = request(
        &served,
        "GET",
        "/debug/page",
        "host: example.test\r\norigin: http://evil.test\r\n",
    );
    assert_eq!(refused.status, 403);
    let own = request(
        &served,
        "GET",
        "/debug/page",
        "host: example.test\r\norigin: https://example.test\r\n",
    );
    assert_eq!(own.status, 200);
    outer.close_blocking().unwrap();
    served.app.close_blocking().unwrap();
}

#[test]
fn a_taken_port_is_an_error_of_the_runnable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // A failure outside any program would count as one of every `Main` that runs in this test.
    let app = Process::builder().on_failure(|_, _| {}).build().unwrap();
    let page = Inspect::new(&app).address(taken.local_addr().unwrap()).runnable().unwrap();
    let error = procession_runnable::run_to_end(&app, &page);
    let error = futures_lite::future::block_on(error).unwrap_err().with_causes().to_string();
    assert!(error.contains("cannot listen on 127.0.0.1:"), "{error}");
}
