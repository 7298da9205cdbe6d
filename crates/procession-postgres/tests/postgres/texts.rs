//! Text that PostgreSQL cannot keep.

use procession_supervisor::shared::{Record, Registration, Token, Write, WriteResult};
use procession_test_postgres::server;

use crate::support::{LONG, claim_one, name, open, put, register, registration, table};

#[test]
fn nul_characters_are_refused() {
    let Some(url) = server() else { return };
    let (table, _) = table(url);
    let mut s = open(&table);
    for (key, kind, spec) in [("a\0", "a", "a"), ("a", "\0a", "a"), ("a", "a", "a\0a")] {
        assert_eq!(name(&s.put(key, kind, spec)), "invalid");
    }
    assert_eq!(name(&s.register(&registration(&["a\0"], LONG))), "invalid");
    let odd = Registration::new("host\0", ["a"], LONG);
    s.register(&odd).unwrap();
    assert_eq!(s.managers().unwrap()[0].name, "host\u{fffd}");
    put(&mut *s, "a");
    put(&mut *s, "b");
    assert!(s.get("a\0").unwrap().is_none());
    assert_eq!(s.scan(Some("a\0z"), 9).unwrap().len(), 1, "a < a\\0z < b");
    assert_eq!(s.scan(Some("\0"), 9).unwrap().len(), 2);
    for result in [s.want_run("a\0"), s.want_stop("\0"), s.remove("a\0"), s.clear_quarantine("\0")]
    {
        assert_eq!(name(&result), "not found");
    }
    assert_eq!(name(&s.record("a\0", Token::new(1), &Record::Ready)), "refused");
    assert_eq!(name(&s.release("a\0", Token::new(1))), "refused");
    let manager = register(&mut *s);
    let claimed = claim_one(&mut *s, manager);
    let write = |key: &str, record| Write::record(key, claimed.token, record);
    let failed = Record::Failed { error: "a\0b".into(), limit: 9 };
    let written = s.write(&[write("\0", Record::Ready), write(&claimed.key, failed)]).unwrap();
    assert_eq!(written, [WriteResult::Refused, WriteResult::Done]);
    let row = s.get(&claimed.key).unwrap().unwrap();
    assert_eq!(row.last_error.as_deref(), Some("a\u{fffd}b"));
}

#[test]
fn keys_that_are_too_long_are_refused() {
    let Some(url) = server() else { return };
    let (table, _) = table(url);
    let mut s = open(&table);
    // Without repetitions, so PostgreSQL cannot compress it.
    let mut state = 1_u64;
    let mut random = |length: usize| -> String {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(33 + u8::try_from((state >> 33) % 90).unwrap())
        };
        (0..length).map(next).collect()
    };
    let (long, kind) = (random(2600), random(2600));
    s.put(&long, &kind, &random(100_000)).unwrap();
    assert_eq!(s.get(&long).unwrap().unwrap().kind, kind);
    let manager = s.register(&registration(&[&kind], LONG)).unwrap().manager;
    assert_eq!(claim_one(&mut *s, manager).key, long);
    let longer = random(2601);
    assert_eq!(name(&s.put(&longer, "a", "1")), "invalid");
    assert_eq!(name(&s.put("k", &longer, "1")), "invalid");
    assert_eq!(name(&s.register(&registration(&[&longer], LONG))), "invalid");
    assert!(s.get(&longer).unwrap().is_none());
    assert_eq!(name(&s.want_run(&longer)), "not found");
    assert_eq!(name(&s.record(&longer, Token::new(u64::MAX), &Record::Ready)), "refused");
}

#[test]
fn numbers_that_do_not_fit_match_nothing() {
    let Some(url) = server() else { return };
    let (table, _) = table(url);
    let mut s = open(&table);
    put(&mut *s, "k");
    let manager = register(&mut *s);
    claim_one(&mut *s, manager);
    assert_eq!(name(&s.release("k", Token::new(u64::MAX))), "refused");
    let unknown = procession_supervisor::shared::ManagerId::new(u64::MAX);
    assert_eq!(name(&s.renew(unknown)), "refused");
    assert_eq!(s.scan(None, usize::MAX).unwrap().len(), 1);
    let endless = s.register(&registration(&["a"], std::time::Duration::MAX)).unwrap();
    s.renew(endless.manager).unwrap();
    let again = registration(&["a"], LONG).after(Some(unknown));
    s.register(&again).unwrap();
}
