//! Tests of the supervisor's guarantees. Most tests advance a clock themselves, and run all tasks on an executor until
//! none is ready, so that they need not sleep.

mod calls;
mod deep;
mod defects;
mod faulty;
mod final_failures;
mod large;
mod left_failures;
mod model;
mod overview;
mod peers;
mod restarts;
mod scans;
mod sets;
mod slow;
mod starting;
mod stopping;
mod stuck_below;
mod stuck_hidden;
mod table_defects;
mod told_once;
mod world;
