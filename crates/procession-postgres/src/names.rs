//! [`Names`]: the names of a schema in SQL.

use procession_supervisor::shared::PROBATION_CRASHES;

/// The length of the longest identifier that PostgreSQL does not cut off.
const LONGEST: usize = 63;

/// A schema, and what is named after it.
pub(crate) struct Names {
    schema: String,
    quoted: String,
    hash: u64,
}

/// The current timeline of the server: the first eight digits of the name of the current WAL file.
const TIMELINE: &str = "(('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(\
                        pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint)";

/// A unit that can be claimed. The partial indices have the same condition.
const FREE: &str = "owner is null and desired = 'run' and not is_quarantined and not is_done";

/// An owned unit that there is an order for. A partial index has the same condition.
const ORDERED: &str =
    "owner is not null and (desired <> 'run' or is_quarantined or generation <> running)";

// The indices contain the number, so another one needs a migration.
const _: () = assert!(PROBATION_CRASHES == 2);

impl Names {
    /// Checks the name of a schema. The error says what is wrong with it.
    pub(crate) fn new(schema: String) -> Result<Self, &'static str> {
        if schema.is_empty() {
            return Err("is empty");
        }
        if schema.contains('\0') {
            return Err("contains a NUL character");
        }
        if schema.len() > LONGEST {
            return Err("is longer than 63 bytes");
        }
        if schema.starts_with("pg_") {
            return Err("begins with `pg_`, which PostgreSQL reserves");
        }
        let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
        let hash = fnv(schema.as_bytes());
        Ok(Self { schema, quoted, hash })
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The channel of notifications. The name of a schema may be too long for a part of it.
    pub(crate) fn channel(&self) -> String {
        format!("procession_{:016x}", self.hash)
    }

    /// The number of the advisory lock of migrations.
    pub(crate) fn lock(&self) -> i64 {
        i64::from_ne_bytes(fnv(&self.hash.to_ne_bytes()).to_ne_bytes())
    }

    /// Replaces the placeholders of a statement. What replaces them is not read again, because the name of a schema may
    /// look like a placeholder.
    ///
    /// | placeholder | |
    /// |---|---|
    /// | `{s}` | the schema, quoted |
    /// | `{channel}`, `{changes}` | the channel, and the sequence of changes, as literals |
    /// | `{q}` | a dollar quote |
    /// | `{free}` | a unit can be claimed |
    /// | `{ordered}` | there is an order for a unit |
    /// | `{timeline}` | the timeline of the server |
    /// | `{new_timeline}` | whether that differs from the table's; false if the server does not tell it |
    pub(crate) fn sql(&self, statement: &str, sees_timeline: bool) -> String {
        let mut sql = String::with_capacity(statement.len() + 64);
        let mut rest = statement;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            sql.push_str(before);
            sql.push_str(&self.value(name, sees_timeline));
            rest = after;
        }
        sql + rest
    }

    fn value(&self, placeholder: &str, sees_timeline: bool) -> String {
        match placeholder {
            "s" => self.quoted.clone(),
            "channel" => literal(&self.channel()),
            "changes" => literal(&format!("{}.changes", self.quoted)),
            "q" => self.dollar_quote(),
            "free" => FREE.to_owned(),
            "ordered" => ORDERED.to_owned(),
            "timeline" => TIMELINE.to_owned(),
            "new_timeline" => {
                let now = if sees_timeline { TIMELINE } else { "meta.timeline" };
                let quoted = &self.quoted;
                format!("(select meta.timeline is distinct from {now} from {quoted}.meta)")
            }
            _ => unreachable!("statements have no other placeholders"),
        }
    }

    /// A quote that no statement contains, whatever the name of the schema.
    fn dollar_quote(&self) -> String {
        let mut tag = "body".to_owned();
        while self.schema.contains(&tag) {
            tag.push('_');
        }
        format!("${tag}$")
    }
}

/// FNV-1a: a hash that is the same in all programs, of all versions.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A string literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn a_schema_is_quoted() {
        let names = Names::new("we\"ird; {free} drop".into()).unwrap();
        assert_eq!(names.sql("{s}.units", false), "\"we\"\"ird; {free} drop\".units");
        for bad in ["", "a\0b", "pg_mine", &"x".repeat(64)] {
            assert!(Names::new(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_schema_has_a_channel() {
        let channel = |schema: &str| Names::new(schema.into()).unwrap().channel();
        assert_ne!(channel("one"), channel("two"));
        assert!(channel(&"x".repeat(63)).len() <= 63);
    }
}
