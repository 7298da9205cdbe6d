//! [`Site`]: the place in the source where a process was made.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;

/// The place in the source where a process was made, or where the unit or runnable that it runs was described.
///
/// Sites are equal if file, line and column are equal. The `Display` of a site in a dependency begins with the
/// directory of the package, the one that contains the last `src`: `foo-1.0/src/x.rs:41`.
///
/// The place is that of the call. If a function is passed as a value, as in `.map(Process::child)`, the standard
/// library calls it, so the process records a line of the standard library; through a function pointer, it records a
/// line of this library. With a closure, as in `.map(|parent| parent.child())`, the process records your line.
///
/// ```
/// use procession::Process;
///
/// let (site, line) = (Process::new().site(), line!());
/// assert_eq!(site.line(), line);
/// assert_eq!(site.to_string(), format!("{}:{line}", site.file()));
/// ```
#[derive(Clone, Copy)]
pub struct Site(&'static Location<'static>);

impl Site {
    /// The place of this call or, inside a `#[track_caller]` function, the place from which that function was called.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn caller() -> Self {
        Self(Location::caller())
    }

    /// The path of the file, as the compiler was given it. For a dependency, the directories above the package are left
    /// out.
    #[must_use]
    pub fn file(&self) -> &'static str {
        shortened(self.0.file())
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.0.line()
    }

    /// The column, from 1.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.0.column()
    }

    fn key(&self) -> (&'static str, u32, u32) {
        (self.0.file(), self.0.line(), self.0.column())
    }
}

/// Compared by value, because the compiler may make several locations for the same place.
impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.key() == other.key()
    }
}

impl Eq for Site {}

impl Hash for Site {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.line())
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The path without the directories above the package. An absolute path is that of a dependency, whose package is taken
/// to be the directory that contains the last `src`.
fn shortened(file: &str) -> &str {
    let is_absolute = file.starts_with(['/', '\\']) || file.get(1..2) == Some(":");
    if !is_absolute {
        return file;
    }
    let is_separator = |character| matches!(character, '/' | '\\');
    let source = ["/src/", "\\src\\"].into_iter().filter_map(|source| file.rfind(source)).max();
    let Some(source) = source else { return file };
    let package = file[..source].rfind(is_separator).map_or(0, |separator| separator + 1);
    &file[package..]
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Site, shortened};

    #[test]
    fn paths_of_dependencies_are_shortened() {
        for (file, short) in [
            ("src/main.rs", "src/main.rs"),
            ("crates/app/src/main.rs", "crates/app/src/main.rs"),
            ("/home/me/.cargo/registry/src/index/foo-1.0/src/x.rs", "foo-1.0/src/x.rs"),
            (r"C:\cargo\registry\src\index\foo-1.0\src\x.rs", r"foo-1.0\src\x.rs"),
            ("/tmp/x.rs", "/tmp/x.rs"),
        ] {
            assert_eq!(shortened(file), short);
        }
    }

    #[test]
    fn sites_are_compared_by_value() {
        let sites: Vec<Site> = (0..2).map(|_| Site::caller()).collect();
        assert_eq!(sites[0], sites[1]);
        assert_ne!(sites[0], Site::caller());
    }
}
