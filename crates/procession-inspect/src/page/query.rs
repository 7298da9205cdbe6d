//! [`Query`]: which rows a viewer wants to see, and in which order.
//!
//! It is the query string of every address: `q=cache&scope=open&sort=-for&open=7,f3.session,-9&root=7`. Anything that
//! cannot be understood is left out, and every part has a limit, so that equal queries are equal values and a query is
//! small.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Write};

/// The maximum number of characters of a filter.
const FILTER_LIMIT: usize = 100;

/// The maximum numbers of keys in `open`, and of bytes of one.
const OPEN_LIMIT: usize = 64;
const KEY_LIMIT: usize = 200;

/// The maximum number of pages of one fold.
const PAGES: usize = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Query {
    pub(crate) filter: String,
    /// `None` for the default: `open` while the root is closing, otherwise `all`.
    pub(crate) scope: Option<Scope>,
    pub(crate) sort: Sort,
    /// Keys of processes whose children must be shown.
    pub(crate) opened: BTreeSet<u64>,
    /// Keys of processes whose children must not be shown.
    pub(crate) closed: BTreeSet<u64>,
    /// Keys of folds, and the number of pages of their members that are shown.
    pub(crate) folds: BTreeMap<String, usize>,
    /// The process whose tree is shown.
    pub(crate) root: Option<u64>,
    /// The units of managers are shown, instead of processes.
    pub(crate) is_units: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scope {
    Open,
    All,
    Failed,
    Blocking,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::All, Self::Failed, Self::Blocking];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::All => "all",
            Self::Failed => "failed",
            Self::Blocking => "blocking",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sort {
    pub(crate) column: Column,
    pub(crate) is_reversed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Column {
    #[default]
    Tree,
    Name,
    Phase,
    For,
    Open,
}

impl Column {
    pub(crate) const ALL: [Self; 5] = [Self::Tree, Self::Name, Self::Phase, Self::For, Self::Open];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Name => "name",
            Self::Phase => "phase",
            Self::For => "for",
            Self::Open => "open",
        }
    }
}

impl Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_reversed { "-" } else { "" }, self.column.name())
    }
}

impl Query {
    /// Reads a query string.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs(text) {
            match name.as_str() {
                "q" => query.filter = value.trim().chars().take(FILTER_LIMIT).collect(),
                "scope" => {
                    query.scope = Scope::ALL.into_iter().find(|scope| scope.name() == value);
                }
                "sort" => query.sort = sort(&value),
                "open" => value.split(',').take(OPEN_LIMIT).for_each(|key| query.open(key)),
                "root" => query.root = value.parse().ok(),
                "tab" => query.is_units = value == "units",
                _ => {}
            }
        }
        query
    }

    fn open(&mut self, key: &str) {
        if key.is_empty() || key.len() > KEY_LIMIT {
            return;
        }
        if let Some(closed) = key.strip_prefix('-') {
            self.closed.extend(closed.parse::<u64>());
        } else if let Ok(opened) = key.parse() {
            self.opened.insert(opened);
        } else {
            let (key, pages) = match key.split_once('~') {
                Some((key, pages)) => (key, pages.parse().unwrap_or(1)),
                None => (key, 1),
            };
            self.folds.insert(key.to_owned(), pages.clamp(1, PAGES));
        }
    }

    pub(crate) fn scope(&self, is_closing: bool) -> Scope {
        self.scope.unwrap_or(if is_closing { Scope::Open } else { Scope::All })
    }

    /// The value of `open`.
    pub(crate) fn open_keys(&self) -> String {
        let opened = self.opened.iter().map(u64::to_string);
        let closed = self.closed.iter().map(|key| format!("-{key}"));
        let folds = self.folds.iter().map(|(key, &pages)| match pages {
            1 => key.clone(),
            pages => format!("{key}~{pages}"),
        });
        opened.chain(closed).chain(folds).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn with_filter(&self, filter: &str) -> Self {
        Self { filter: filter.to_owned(), ..self.clone() }
    }

    pub(crate) fn with_scope(&self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    /// Sorted by this column or, if it is already, the other way round.
    pub(crate) fn sorted_by(&self, column: Column) -> Self {
        let is_again = self.sort.column == column && column != Column::Tree;
        let is_reversed = is_again && !self.sort.is_reversed;
        Self { sort: Sort { column, is_reversed }, ..self.clone() }
    }

    /// The children of this process are shown, or not.
    pub(crate) fn with_process(&self, key: u64, is_open: bool) -> Self {
        let mut query = self.clone();
        query.opened.remove(&key);
        query.closed.remove(&key);
        let keys = if is_open { &mut query.opened } else { &mut query.closed };
        keys.insert(key);
        query
    }

    /// This number of pages of the members of a fold is shown.
    pub(crate) fn with_fold(&self, key: &str, pages: usize) -> Self {
        let mut query = self.clone();
        query.folds.remove(key);
        if pages > 0 {
            query.folds.insert(key.to_owned(), pages.min(PAGES));
        }
        query
    }

    pub(crate) fn with_root(&self, root: Option<u64>) -> Self {
        Self { root, ..self.clone() }
    }

    /// Can one more page of a fold be shown?
    pub(crate) fn has_next_page(pages: usize) -> bool {
        pages < PAGES
    }
}

/// The query string, without the question mark.
impl Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut pair = |name: &str, value: &str| {
            if value.is_empty() {
                return Ok(());
            }
            write!(f, "{separator}{name}=")?;
            separator = "&";
            f.write_str(&encoded(value))
        };
        pair("q", &self.filter)?;
        pair("scope", self.scope.map_or("", Scope::name))?;
        if self.sort != Sort::default() {
            pair("sort", &self.sort.to_string())?;
        }
        pair("open", &self.open_keys())?;
        pair("root", &self.root.map(|root| root.to_string()).unwrap_or_default())?;
        pair("tab", if self.is_units { "units" } else { "" })
    }
}

fn sort(value: &str) -> Sort {
    let (is_reversed, name) = match value.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, value),
    };
    let column = Column::ALL.into_iter().find(|column| column.name() == name).unwrap_or_default();
    Sort { column, is_reversed: is_reversed && column != Column::Tree }
}

/// The value of a parameter of a query string.
pub(crate) fn parameter(text: &str, name: &str) -> Option<String> {
    pairs(text).find(|(other, _)| other == name).map(|(_, value)| value)
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// Percent-encoding of everything that is not unreserved.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => {
                encoded.push(byte.into());
            }
            byte => {
                // Writing to a string does not fail.
                let _written = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let number = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (byte, number) {
            (b'%', Some(number)) => {
                bytes.push(number);
                &after[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                after
            }
            (byte, _) => {
                bytes.push(byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Column, Query, Scope, parameter};

    #[test]
    fn a_query_is_read_and_written() {
        let text = "q=a%20b%26&scope=failed&sort=-for&open=7,-9,f3.session~2&root=7&tab=units";
        let query = Query::parse(text);
        assert_eq!(query.filter, "a b&");
        assert_eq!((query.scope, query.root), (Some(Scope::Failed), Some(7)));
        assert!(query.sort.is_reversed && query.sort.column == Column::For);
        assert_eq!(query.open_keys(), "7,-9,f3.session~2");
        assert_eq!(query.to_string(), text);
        assert_eq!(Query::parse(&query.to_string()), query);
        assert_eq!(Query::default().to_string(), "");
        assert_eq!(parameter("a=1&token=x%20y", "token").as_deref(), Some("x y"));
    }

    #[test]
    fn nonsense_is_left_out() {
        let long = "A".repeat(1 << 20);
        let query = Query::parse(&format!("q={long}&scope=x&sort=x&open={long},%zz,&root=-1&&x"));
        assert_eq!(query.filter.len(), 100);
        assert_eq!(query.with_filter(""), Query { folds: query.folds.clone(), ..Query::default() });
        let many = (0..1000).map(|key| key.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(Query::parse(&format!("open={many}")).opened.len(), 64);
        assert_eq!(Query::parse("open=f1.a~99999").folds["f1.a"], 4);
    }

    #[test]
    fn links_change_one_part() {
        let query = Query::parse("q=x&sort=name");
        assert_eq!(query.sorted_by(Column::Name).to_string(), "q=x&sort=-name");
        assert_eq!(query.sorted_by(Column::Tree).to_string(), "q=x");
        assert_eq!(
            query.with_process(7, false).with_process(7, true).to_string(),
            "q=x&sort=name&open=7"
        );
        assert_eq!(query.with_fold("f1.a", 1).with_fold("f1.a", 0), query);
    }
}
