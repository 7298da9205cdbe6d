//! Text is kept as it is, whatever it contains.

use std::time::Duration;

use procession_supervisor::shared::{Record, Registration};

use crate::world::{World, row};

#[test]
fn any_text_is_kept() {
    let world = World::new();
    let mut s = world.session();
    let long = "x".repeat(1_000_000);
    let texts = [
        "",
        "\0",
        "\0\0",
        "a",
        "a\0",
        "a\0b",
        "a\0c",
        "b\0",
        "'",
        "\"; DROP TABLE procession_units; --",
        "\u{FEFF}a",
        "\u{10FFFF}",
        "1",
        "1.0",
        " 1",
        "0x1",
        &long,
    ];
    // Each text is a key, a kind, a spec, a name, and an error.
    for text in texts {
        assert_eq!(s.put(text, text, text).unwrap(), 1, "{text:?}");
        assert_eq!(s.put(text, text, text).unwrap(), 1, "{text:?}");
        let row = row(&mut *s, text);
        assert_eq!((&*row.key, &*row.kind, &*row.spec), (text, text, text));
    }
    let mut sorted = texts.map(str::to_owned);
    sorted.sort();
    let keys: Vec<_> = s.scan(None, 100).unwrap().into_iter().map(|row| row.key).collect();
    assert_eq!(keys, sorted);
    for (position, key) in sorted.iter().enumerate() {
        let next = s.scan(Some(key), 1).unwrap().pop().map(|row| row.key);
        assert_eq!(next.as_ref(), sorted.get(position + 1), "after {key:?}");
    }
    for text in texts {
        let named = Registration::new(text, [text], Duration::from_secs(15));
        let manager = s.register(&named).unwrap().manager;
        let listed = s.managers().unwrap().pop().unwrap();
        assert_eq!((&*listed.name, &listed.kinds), (text, &vec![text.to_owned()]));
        assert_eq!(s.share(manager).unwrap().fair, 1, "{text:?}");
        let claimed = s.claim(manager, 9).unwrap();
        assert_eq!(claimed.len(), 1, "{text:?}");
        assert_eq!((&*claimed[0].key, &*claimed[0].spec), (text, text));
        let token = claimed[0].token;
        let failed = Record::Failed { error: text.into(), limit: 9 };
        s.record(text, token, &failed).unwrap();
        assert_eq!(row(&mut *s, text).last_error.as_deref(), Some(text));
        s.release(text, token).unwrap();
        s.remove(text).unwrap();
        assert_eq!(s.get(text).unwrap(), None);
        s.leave(manager).unwrap();
    }
}
