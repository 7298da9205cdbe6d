//! [`EdgeKind`]: the effects of an edge between two processes.

/// The effects of an edge from `p` down to `q`, as a set of bits. It is stored only at the lower end of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EdgeKind(u8);

const CLOSES: u8 = 0b00_0001;
const WAITS: u8 = 0b00_0010;
const OWNS: u8 = 0b00_0100;
const HOLDS_SLOT: u8 = 0b00_1000;
const ORDERS: u8 = 0b01_0000;
const BLOCKS: u8 = 0b10_0000;

impl EdgeKind {
    /// `p` closes `q`, waits for it, and keeps it open.
    pub(crate) const CHILD: Self = Self(CLOSES | WAITS | OWNS);
    /// `p` closes `q`, waits for it, and keeps it open; `q` holds a slot of `p`.
    pub(crate) const LIMITED_CHILD: Self = Self(CLOSES | WAITS | OWNS | HOLDS_SLOT);
    /// `p` closes `q`, and keeps it open.
    pub(crate) const NO_WAIT_CHILD: Self = Self(CLOSES | OWNS);
    /// `p` waits for `q`.
    pub(crate) const WAIT_FOR: Self = Self(WAITS);
    /// `p` waits for `q`, and the parents of `p` close it only after `q` is Closed.
    pub(crate) const CLOSE_AFTER: Self = Self(WAITS | ORDERS);
    /// The parents of `p` close it only after `q` is Closed. Such an edge is not searched for cycles, because only
    /// siblings in a fixed order have such edges.
    pub(crate) const ORDER: Self = Self(ORDERS);
    /// A thread that runs code of `p` is blocked until `q` is Closed.
    pub(super) const BLOCKED: Self = Self(BLOCKS);

    /// Does `p` close `q`?
    pub(crate) fn closes(self) -> bool {
        self.0 & CLOSES != 0
    }

    /// Does `p` wait for `q`?
    pub(crate) fn waits(self) -> bool {
        self.0 & WAITS != 0
    }

    /// Does `p`, while it is open, keep `q` open (I8)?
    pub(super) fn owns(self) -> bool {
        self.0 & OWNS != 0
    }

    pub(super) fn holds_slot(self) -> bool {
        self.0 & HOLDS_SLOT != 0
    }

    /// Do the parents of `p` close it only after `q` is Closed?
    pub(super) fn orders(self) -> bool {
        self.0 & ORDERS != 0
    }

    /// Can `p` be Closed only after `q`?
    pub(super) fn requires_closed(self) -> bool {
        self.0 & (WAITS | BLOCKS) != 0
    }

    /// Does its end have no further effects, because it holds no slot and orders no closing?
    pub(super) fn is_plain(self) -> bool {
        self.0 & (HOLDS_SLOT | ORDERS) == 0
    }

    /// The same kind of edge, but one that does not keep `q` open.
    pub(super) fn without_owning(self) -> Self {
        Self(self.0 & !OWNS)
    }
}
