//! The lines and symbols of the tree.

use std::fmt;

use super::outline::{Outline, Row};

/// The pieces of text that draw the tree.
pub(super) struct Drawing {
    branch: &'static str,
    last_branch: &'static str,
    trunk: &'static str,
    no_trunk: &'static str,
    wait: &'static str,
    below_wait: &'static str,
    reference: &'static str,
    pub(super) left: &'static str,
    pub(super) ellipsis: &'static str,
    pub(super) dot: &'static str,
}

impl Drawing {
    /// ASCII with `{:-}`.
    pub(super) fn for_form(f: &fmt::Formatter<'_>) -> &'static Self {
        if f.sign_minus() { &ASCII } else { &UNICODE }
    }

    /// Writes the lines and symbols to the left of a row.
    pub(super) fn write_indent(
        &self,
        outline: &Outline<'_>,
        position: usize,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        if position == 0 {
            return Ok(());
        }
        let mut pieces =
            vec![match (is_wait(&outline.rows[position]), is_last(outline, position)) {
                (true, _) => self.wait,
                (false, true) => self.last_branch,
                (false, false) => self.branch,
            }];
        let mut above = outline.rows[position].parent;
        while above > 0 {
            pieces.push(match (is_wait(&outline.rows[above]), is_last(outline, above)) {
                (true, _) => self.below_wait,
                (false, true) => self.no_trunk,
                (false, false) => self.trunk,
            });
            above = outline.rows[above].parent;
        }
        pieces.iter().rev().try_for_each(|piece| f.write_str(piece))
    }

    /// Writes the mark of a reference. A wait is already marked by the indent.
    pub(super) fn write_reference(&self, row: &Row<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_wait(row) { Ok(()) } else { f.write_str(self.reference) }
    }
}

fn is_wait(row: &Row<'_>) -> bool {
    row.link.is_some_and(|link| !link.closes())
}

/// Is it the last of the rows below its parent that are drawn as branches?
fn is_last(outline: &Outline<'_>, position: usize) -> bool {
    let siblings = &outline.rows[outline.rows[position].parent].below;
    siblings.end == position + 1 || is_wait(&outline.rows[position + 1])
}

const UNICODE: Drawing = Drawing {
    branch: "├─ ",
    last_branch: "└─ ",
    trunk: "│  ",
    no_trunk: "   ",
    wait: "⇢ ",
    below_wait: "  ",
    reference: "↗ ",
    left: "←",
    ellipsis: "…",
    dot: "·",
};

const ASCII: Drawing = Drawing {
    branch: "|- ",
    last_branch: "`- ",
    trunk: "|  ",
    no_trunk: "   ",
    wait: "~> ",
    below_wait: "   ",
    reference: "^ ",
    left: "<-",
    ellipsis: "...",
    dot: "-",
};
