//! Readiness for the model checks of this workspace. This is not part of the public interface.

use procession::Label;

use crate::ready::{NotReady, Readiness, Ready};

/// A part, which can be split into parts of its own. If it is dropped before it is ready, it is lost.
pub struct Part(Ready);

/// Reports that a part is ready, or lost. Clones report on the same part.
#[derive(Clone)]
pub struct Reporter(Ready);

/// A whole with one part, and a future that waits until it is ready.
pub fn whole() -> (Part, Readiness) {
    let (whole, readiness) = Ready::pair();
    (Part(whole), readiness)
}

/// Is it ready?
pub fn is_ready(readiness: &Readiness) -> bool {
    readiness.is_ready()
}

impl Part {
    /// Splits it into two.
    pub fn split(self) -> [Self; 2] {
        let mut parts = self.0.split(2).map(Self);
        [(); 2].map(|()| parts.next().expect("there are two"))
    }

    /// A reporter for this part.
    pub fn reporter(&self) -> Reporter {
        Reporter(self.0.clone())
    }
}

impl Reporter {
    /// Reports that the part is ready.
    pub fn ready(&self) {
        self.0.report_ready();
    }

    /// Reports that the part has ended.
    pub fn ended(&self, label: Label) {
        self.0.lose(|| NotReady::Ended(label));
    }
}
