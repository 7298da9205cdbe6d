//! What the supervisor promises. Time is a clock that the tests move, and all tasks run on an executor that
//! they run until nothing moves any more: no test sleeps.

mod calls;
mod defects;
mod faulty;
mod large;
mod model;
mod peers;
mod restarts;
mod scans;
mod sets;
mod slow;
mod starting;
mod stopping;
mod world;
