//! [`Scale`]: where times are on the horizontal axis of the picture.

use super::recording::Recording;
use super::segments::Bounds;

/// The plot begins and ends here.
pub(crate) const LEFT: f64 = 320.0;
pub(crate) const RIGHT: f64 = 1340.0;

/// The time before the zero takes this part of the plot, and is not to scale.
const BEFORE: f64 = 0.05;

/// The mapping of times to positions.
pub(crate) struct Scale {
    /// When closing began.
    pub(crate) zero: u64,
    /// The time at the right end.
    pub(crate) end: u64,
}

impl Scale {
    pub(crate) fn of(recording: &Recording) -> Self {
        let zero = recording.zero();
        // Processes that nothing waited for may be Closed later than the root.
        let closed = recording
            .lives
            .iter()
            .filter_map(|life| Bounds::of(life, recording.until).map(|bounds| bounds.closed));
        let end = closed.max().unwrap_or(recording.until).max(zero);
        Self { zero, end }
    }

    /// The position of a time; before the zero, the left end.
    pub(crate) fn x(&self, at: u64) -> f64 {
        if at < self.zero {
            return LEFT;
        }
        let zero = LEFT + (RIGHT - LEFT) * BEFORE;
        let (part, all) = (at.min(self.end) - self.zero, (self.end - self.zero).max(1));
        zero + (RIGHT - zero) * (part as f64 / all as f64)
    }

    /// The time since closing began.
    pub(crate) fn relative(&self, at: u64) -> i64 {
        let clip = |micros: u64| i64::try_from(micros).unwrap_or(i64::MAX);
        clip(at) - clip(self.zero)
    }

    /// The times of the ticks since closing began: at most 10 steps, each of 1, 2 or 5 × 10ⁿ.
    pub(crate) fn ticks(&self) -> Vec<u64> {
        let total = self.end - self.zero;
        let steps = (0..20).flat_map(|power| {
            [1, 2, 5].into_iter().filter_map(move |one| 10_u64.checked_pow(power)?.checked_mul(one))
        });
        let step = steps.into_iter().find(|step| total / step <= 10).unwrap_or(u64::MAX);
        (0..=total / step).map(|number| number * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LEFT, RIGHT, Scale};

    #[test]
    fn there_are_five_to_eleven_ticks() {
        for end in (10_u64..5_000).chain([6_310_000, 86_400_000_000]) {
            let ticks = Scale { zero: 100, end: 100 + end }.ticks();
            assert!((5..=11).contains(&ticks.len()), "{end}: {ticks:?}");
        }
        assert_eq!(Scale { zero: 7, end: 7 }.ticks(), [0]);
    }

    #[test]
    fn times_are_inside_the_plot() {
        let scale = Scale { zero: 100, end: 200 };
        assert_eq!(scale.x(0), LEFT);
        assert_eq!(scale.x(100), LEFT + 51.0);
        assert_eq!(scale.x(200), RIGHT);
        assert_eq!(scale.x(u64::MAX), RIGHT);
        assert_eq!(scale.relative(40), -60);
    }
}
