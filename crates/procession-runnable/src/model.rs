//! The parts of readiness, for the model checks of this workspace. This is not part of the public interface.

use procession::Label;

use crate::ready::{NotReady, Readiness, Ready};

/// Something that can be split into parts. If it is dropped before it was said to be ready, it is lost.
pub struct Part(Ready);

/// Says that a part is ready, or lost. Clones are about the same part.
#[derive(Clone)]
pub struct Sayer(Ready);

/// Something with one part, and a future that waits for it.
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
        let mut parts = self.0.split(2).into_iter().map(Self);
        [(); 2].map(|()| parts.next().expect("there are two"))
    }

    /// Says something about this part.
    pub fn sayer(&self) -> Sayer {
        Sayer(self.0.clone())
    }
}

impl Sayer {
    /// Says that the part is ready.
    pub fn ready(&self) {
        self.0.say();
    }

    /// Says that the part has ended.
    pub fn ended(&self, label: Label) {
        self.0.lose(|| NotReady::Ended(label));
    }
}
