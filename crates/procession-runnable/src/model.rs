//! The parts of readiness, for the model checks of this workspace. It is not part of the public interface.

use procession::Label;

use crate::ready::{Readiness, Ready, Sure, Unready};

/// Something that can be split into parts, and is ready when they are. Dropped before that, it is lost.
pub struct Part(Sure);

/// Says that a part is ready, or lost. Clones are of the same part.
#[derive(Clone)]
pub struct Sayer(Ready);

/// Something with one part, and what waits for it.
pub fn whole() -> (Part, Readiness) {
    let (whole, readiness) = Ready::pair();
    (Part(whole), readiness)
}

/// Is it ready?
pub fn is_ready(readiness: &Readiness) -> bool {
    readiness.watch().is_ready()
}

impl Part {
    /// Splits it into two.
    pub fn split(self) -> [Self; 2] {
        let mut parts = self.0.split(2).into_iter().map(Self);
        [(); 2].map(|()| parts.next().expect("there are two"))
    }

    /// Says it for this part.
    pub fn sayer(&self) -> Sayer {
        Sayer(self.0.ready().clone())
    }
}

impl Sayer {
    /// Says that the part is ready.
    pub fn ready(&self) {
        self.0.say();
    }

    /// Says that the part has ended.
    pub fn ended(&self, label: Label) {
        self.0.lose(|| Unready::Ended(label));
    }
}
