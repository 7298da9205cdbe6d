//! Runs the state of the pool through every order of the events that can happen around it, in small worlds, and checks
//! P1 to P4 in each world that it reaches.
//!
//! A [`World`] is the state together with the actual threads. The search goes breadth-first over all worlds that events
//! can lead to, and visits each once. Threads in the same spot are interchangeable, so a world only counts them.

use std::collections::{HashMap, VecDeque};

use super::state::{State, Surroundings, WakesUp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    Plain,
    Urgent,
}

/// What a thread of the pool is doing. Each change of spot is one locked section, or happens without the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// It was started, and has not arrived.
    Starts,
    /// It is idle, and its listener was not notified.
    Listens,
    /// Its listener was notified.
    IsNotified,
    /// It has waited in vain, and no longer has a listener.
    HasWaited,
    /// It runs a task.
    Runs,
    /// It runs a task that is blocked in a wait of the library.
    IsBlocked,
    /// It is between two tasks.
    IsDone,
}

/// A thread in `close_blocking`, which has a queue that the pool helps with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Absent,
    MayCome,
    /// It runs a task or other foreign code.
    Runs {
        place: u32,
    },
    /// It is about to take the next task.
    IsBack {
        place: u32,
    },
}

/// A thread in `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Helper {
    Absent,
    Sleeps,
    IsAwake,
    Runs,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    state: State<Task>,
    around: Around,
    owners: [Owner; 2],
    helper: Helper,
    /// The number of tasks of each kind that may still come.
    to_come: [u8; 2],
    /// How often the OS may still switch between creating and refusing threads.
    changes: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Around {
    /// The number of threads in each spot.
    threads: [u8; 7],
    look_is_scheduled: bool,
    is_short: bool,
    os_refuses: bool,
    /// The thread that keeps deadlines exists.
    has_deadlines: bool,
}

impl Around {
    fn count(&self, spot: Spot) -> usize {
        usize::from(self.threads[spot as usize])
    }

    fn leave(&mut self, from: Spot) {
        self.threads[from as usize] -= 1;
    }

    fn enter(&mut self, to: Spot) {
        self.threads[to as usize] += 1;
    }

    fn go(&mut self, from: Spot, to: Spot) {
        self.leave(from);
        self.enter(to);
    }
}

impl Surroundings for Around {
    fn wake_idle(&mut self) {
        // A notification that finds no listener is lost, as with an event-listener.
        if self.count(Spot::Listens) > 0 {
            self.go(Spot::Listens, Spot::IsNotified);
        }
    }

    fn start_thread(&mut self) -> bool {
        if !self.os_refuses {
            self.enter(Spot::Starts);
        }
        !self.os_refuses
    }

    fn schedule_look(&mut self) -> bool {
        assert!(!self.look_is_scheduled, "two looks are scheduled");
        self.look_is_scheduled = self.has_deadlines;
        self.has_deadlines
    }

    fn is_short(&self) -> bool {
        self.is_short
    }

    fn set_short(&mut self, is_short: bool) {
        self.is_short = is_short;
    }
}

/// What an owner adds to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Adds {
    tasks: usize,
    is_back_soon: bool,
}

/// An event in a world. The first group needs no outside cause; the second depends on foreign code, users and the OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Arrives,
    IsWoken,
    LooksForNext,
    ThreadGivesUp,
    Looks,
    OwnerLooksForNext(usize),
    HelperHelps,

    Prepares,
    Submits(usize),
    SubmitsUrgent,
    ListensInVain,
    Ends,
    EndsWithNext,
    Blocks,
    Unblocks,
    OwnerComes(usize, Adds),
    OwnerEnds(usize, Adds),
    OwnerIsBack(usize),
    HelperEnds,
    OsChanges,
}

/// The events that need no outside cause, in the order in which they are tried if everything else is stuck.
const UNCAUSED: [Event; 8] = [
    Event::Arrives,
    Event::IsWoken,
    Event::LooksForNext,
    Event::ThreadGivesUp,
    Event::OwnerLooksForNext(0),
    Event::OwnerLooksForNext(1),
    Event::HelperHelps,
    Event::Looks,
];

/// The events that depend on others, except the ends of tasks.
const BY_OTHERS: [Event; 8] = [
    Event::Prepares,
    Event::Submits(1),
    Event::Submits(2),
    Event::SubmitsUrgent,
    Event::ListensInVain,
    Event::EndsWithNext,
    Event::Blocks,
    Event::OsChanges,
];

/// The events that end a task, a wait or other foreign code.
const ENDS: [Event; 5] =
    [Event::Ends, Event::Unblocks, Event::OwnerIsBack(0), Event::OwnerIsBack(1), Event::HelperEnds];

fn all_events() -> impl Iterator<Item = Event> {
    let adds = [(1, true), (1, false), (2, true), (2, false)];
    let of_owners = [0, 1].into_iter().flat_map(move |owner| {
        adds.into_iter().flat_map(move |(tasks, is_back_soon)| {
            let adds = Adds { tasks, is_back_soon };
            [Event::OwnerComes(owner, adds), Event::OwnerEnds(owner, adds)]
        })
    });
    UNCAUSED.into_iter().chain(BY_OTHERS).chain(ENDS).chain(of_owners)
}

impl World {
    fn can(&self, event: Event) -> bool {
        let has = |spot| self.around.count(spot) > 0;
        let may_come = |tasks| usize::from(self.to_come[Task::Plain as usize]) >= tasks;
        let owner_runs = |owner: usize| matches!(self.owners[owner], Owner::Runs { .. });
        match event {
            Event::Arrives => has(Spot::Starts),
            Event::IsWoken => has(Spot::IsNotified),
            Event::LooksForNext => has(Spot::IsDone),
            Event::ThreadGivesUp => has(Spot::HasWaited),
            Event::Looks => self.around.look_is_scheduled,
            Event::OwnerLooksForNext(owner) => {
                matches!(self.owners[owner], Owner::IsBack { .. })
            }
            Event::HelperHelps => self.helper == Helper::IsAwake,
            Event::Prepares => self.state.threads.all() == 0,
            Event::Submits(tasks) => may_come(tasks),
            Event::SubmitsUrgent => self.to_come[Task::Urgent as usize] > 0,
            Event::ListensInVain => has(Spot::Listens),
            Event::Ends | Event::Blocks => has(Spot::Runs),
            Event::EndsWithNext => has(Spot::Runs) && may_come(1),
            Event::Unblocks => has(Spot::IsBlocked),
            Event::OwnerComes(owner, Adds { tasks, .. }) => {
                self.owners[owner] == Owner::MayCome && may_come(tasks)
            }
            Event::OwnerEnds(owner, Adds { tasks, .. }) => owner_runs(owner) && may_come(tasks),
            Event::OwnerIsBack(owner) => owner_runs(owner),
            Event::HelperEnds => self.helper == Helper::Runs,
            Event::OsChanges => self.changes > 0,
        }
    }

    fn after(&self, event: Event) -> Self {
        let mut world = self.clone();
        world.happen(event);
        world
    }

    fn happen(&mut self, event: Event) {
        let Self { state, around, .. } = self;
        match event {
            Event::Arrives => {
                around.leave(Spot::Starts);
                state.arrive();
                self.thread_looks();
            }
            Event::IsWoken => {
                around.leave(Spot::IsNotified);
                self.thread_wakes_up();
            }
            Event::LooksForNext => {
                around.leave(Spot::IsDone);
                self.thread_looks();
            }
            Event::ThreadGivesUp => {
                around.leave(Spot::HasWaited);
                self.thread_wakes_up();
            }
            Event::Looks => {
                around.look_is_scheduled = false;
                state.look(around);
                self.release();
            }
            Event::OwnerLooksForNext(owner) => {
                let Owner::IsBack { place } = self.owners[owner] else { return };
                let task = state.queues.pop_from(place);
                self.owners[owner] =
                    if task.is_some() { Owner::Runs { place } } else { Owner::MayCome };
            }
            Event::HelperHelps => {
                let task = if around.is_short { state.help() } else { None };
                self.helper = if task.is_some() { Helper::Runs } else { Helper::Sleeps };
            }
            Event::Prepares => {
                state.prepare(around);
                self.release();
            }
            Event::Submits(tasks) => self.submit(tasks, 0),
            Event::SubmitsUrgent => {
                self.to_come[Task::Urgent as usize] -= 1;
                state.add_urgent(Task::Urgent, around);
                self.release();
            }
            Event::ListensInVain => around.go(Spot::Listens, Spot::HasWaited),
            Event::Ends => around.go(Spot::Runs, Spot::IsDone),
            Event::EndsWithNext => {
                around.go(Spot::Runs, Spot::IsDone);
                self.submit(1, 1);
            }
            Event::Blocks => {
                around.go(Spot::Runs, Spot::IsBlocked);
                state.block(around);
                self.release();
            }
            Event::Unblocks => {
                around.go(Spot::IsBlocked, Spot::Runs);
                state.unblock();
            }
            Event::OwnerComes(owner, adds) => {
                let place = state.queues.share();
                self.owner_adds(owner, place, adds);
            }
            Event::OwnerEnds(owner, adds) => {
                let Owner::Runs { place } = self.owners[owner] else { return };
                self.owner_adds(owner, place, adds);
            }
            Event::OwnerIsBack(owner) => {
                let Owner::Runs { place } = self.owners[owner] else { return };
                self.owners[owner] = Owner::IsBack { place };
            }
            Event::HelperEnds => self.helper = Helper::IsAwake,
            Event::OsChanges => {
                self.changes -= 1;
                around.os_refuses = !around.os_refuses;
            }
        }
    }

    /// A busy thread looks for a task.
    fn thread_looks(&mut self) {
        let is_over_limit = self.state.threads.busy > self.state.limit();
        let task = self.state.next(&mut self.around);
        assert!(!is_over_limit || task != Some(Task::Plain), "P2: back to the limit");
        self.around.enter(if task.is_some() { Spot::Runs } else { Spot::Listens });
        self.release();
    }

    fn thread_wakes_up(&mut self) {
        match self.state.wake_up() {
            WakesUp::Works => self.thread_looks(),
            WakesUp::Waits => self.around.enter(Spot::Listens),
            WakesUp::Ends => {}
        }
    }

    fn come(&mut self, tasks: usize) -> Vec<Task> {
        self.to_come[Task::Plain as usize] -= tasks as u8;
        vec![Task::Plain; tasks]
    }

    fn submit(&mut self, tasks: usize, served: usize) {
        let tasks = self.come(tasks);
        self.state.add(tasks, served, &mut self.around);
        self.release();
    }

    fn owner_adds(&mut self, owner: usize, place: u32, Adds { tasks, is_back_soon }: Adds) {
        let tasks = self.come(tasks);
        self.state.add_to(place, tasks, is_back_soon, &mut self.around);
        self.release();
        self.owners[owner] =
            if is_back_soon { Owner::IsBack { place } } else { Owner::Runs { place } };
    }

    fn release(&mut self) {
        if self.helper == Helper::Sleeps && self.state.needs_help(&self.around) {
            self.helper = Helper::IsAwake;
        }
    }
}

/// The checks.
impl World {
    fn waiting(&self, kind: Task) -> usize {
        let mut queues = self.state.queues.clone();
        std::iter::from_fn(|| queues.pop()).filter(|task| *task == kind).count()
    }

    /// P1: the counts are those of the threads.
    fn check_counts(&self) {
        let (counted, count) = (self.state.threads, |spot| self.around.count(spot));
        assert_eq!(counted.busy, count(Spot::Runs) + count(Spot::IsDone), "P1: busy");
        assert_eq!(counted.blocked, count(Spot::IsBlocked), "P1: blocked");
        assert_eq!(counted.called, count(Spot::Starts) + counted.calls, "P1: called");
        let wake_up = count(Spot::IsNotified) + count(Spot::HasWaited);
        assert_eq!(counted.idle + counted.calls, count(Spot::Listens) + wake_up, "P1: idle");
        assert!(counted.calls <= wake_up, "P1: no thread wakes up for a call");
    }

    /// P2: the limit is exceeded only for an urgent task, or by a thread that returns from a wait.
    fn check_limit(&self, before: &Self, event: Event, limit: usize) {
        let (now, before_it) = (self.state.threads.working(), before.state.threads.working());
        let most = match event {
            Event::Unblocks => before_it + 1,
            Event::SubmitsUrgent => limit.max(before_it + 1),
            Event::Looks if before.state.queues.has_urgent() => limit.max(before_it + 1),
            _ => limit.max(before_it),
        };
        assert!(now <= most, "P2");
    }

    /// P2: a thread is called at once for an urgent task, even beyond the limit.
    fn check_that_an_urgent_task_is_called_for(&self, event: Event) {
        let is_called_for = self.state.threads.called > 0 || self.around.is_short;
        assert!(event != Event::SubmitsUrgent || is_called_for, "P2: not urgent");
    }

    /// P3: each waiting task is about to be taken, or a look is scheduled, or one of the exceptions holds.
    fn check_that_tasks_are_provided_for(&self, limit: usize) {
        let is_back = |owner: &&Owner| matches!(owner, Owner::IsBack { .. });
        let owners = self.owners.iter().filter(is_back).count();
        let taken = self.state.threads.called + self.around.count(Spot::IsDone) + owners;
        let is_watched = self.around.look_is_scheduled;
        let is_helped = self.state.needs_help(&self.around) && self.helper != Helper::Sleeps;
        let is_full = self.state.threads.working() >= limit && !self.state.queues.has_urgent();
        let is_provided = is_watched || is_helped || is_full;
        assert!(self.state.queues.waiting() <= taken || is_provided, "P3: a task is forgotten");
    }

    /// Urgent tasks are ahead of all others.
    fn check_that_urgent_tasks_are_first(&self) {
        let first = self.state.queues.clone().pop();
        assert!(!self.state.queues.has_urgent() || first == Some(Task::Urgent), "not first");
    }

    /// P4: there is a thread if there was one.
    fn check_that_a_thread_stays(&self, before: &Self) {
        let all = |world: &Self| world.around.threads.iter().sum::<u8>();
        assert!(all(before) == 0 || all(self) > 0, "P4");
    }

    /// P3, in the long run: if everything that runs is stuck from now on, the pool grows until no task waits or, unless
    /// an urgent task waits, until it is at its limit. If the OS refuses threads, a thread in `wait` runs the waiting
    /// tasks.
    fn check_that_it_comes_unstuck(&self, limit: usize) {
        let mut world = self.clone();
        let can_grow = !world.around.os_refuses && world.around.has_deadlines;
        if !can_grow && world.helper == Helper::Absent {
            return;
        }
        for _ in 0..100 {
            let is_full = world.state.threads.working() >= limit;
            if world.waiting(Task::Urgent) == 0 && (world.waiting(Task::Plain) == 0 || is_full) {
                return;
            }
            let progress = [Event::HelperEnds].into_iter().filter(|_| !can_grow);
            let Some(event) = progress.chain(UNCAUSED).find(|&event| world.can(event)) else {
                break;
            };
            world.happen(event);
        }
        panic!("P3: a task waits for one that is stuck");
    }

    /// When no more events can happen, no task is left.
    fn check_the_end(&self) {
        let goes_on = UNCAUSED.into_iter().chain(ENDS).any(|event| self.can(event));
        assert!(goes_on || self.state.queues.waiting() == 0, "a task is left");
    }
}

/// Visits and checks every world that can be reached from `first`.
fn explore(first: World, limit: usize) {
    let mut ways = Ways::from([(first.clone(), None)]);
    let mut open = VecDeque::from([first]);
    while let Some(world) = open.pop_front() {
        for event in all_events().filter(|&event| world.can(event)) {
            let next = check(&ways, &world, Some(event), || {
                let next = world.after(event);
                next.check_limit(&world, event, limit);
                next.check_that_an_urgent_task_is_called_for(event);
                next.check_that_a_thread_stays(&world);
                next
            });
            if !ways.contains_key(&next) {
                ways.insert(next.clone(), Some((world.clone(), event)));
                check(&ways, &next, None, || {
                    next.check_counts();
                    next.check_that_tasks_are_provided_for(limit);
                    next.check_that_urgent_tasks_are_first();
                    next.check_that_it_comes_unstuck(limit);
                    next.check_the_end();
                });
                open.push_back(next);
            }
        }
    }
    println!("{} worlds", ways.len());
}

/// How each world was reached: from which world, and by which event.
type Ways = HashMap<World, Option<(World, Event)>>;

/// Runs a check. If it fails, prints the events that have led to the world.
fn check<R>(ways: &Ways, world: &World, last: Option<Event>, check: impl FnOnce() -> R) -> R {
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    checked.unwrap_or_else(|panic| {
        let mut events = Vec::from_iter(last);
        let mut next = world;
        while let Some(Some((before, event))) = ways.get(next) {
            events.push(*event);
            next = before;
        }
        events.reverse();
        println!("{events:#?}");
        std::panic::resume_unwind(panic)
    })
}

/// A world in which `plain` tasks will come. It has no threads yet, but all resources, and no thread is in `wait` or in
/// `close_blocking`.
fn world(cores: usize, limit: usize, plain: u8) -> World {
    World {
        state: State::new(cores, limit),
        around: Around {
            threads: [0; 7],
            look_is_scheduled: false,
            is_short: false,
            os_refuses: false,
            has_deadlines: true,
        },
        owners: [Owner::Absent; 2],
        helper: Helper::Absent,
        to_come: [plain, 0],
        changes: 0,
    }
}

#[test]
fn tasks_are_run() {
    explore(world(1, 3, 4), 3);
    explore(world(2, 3, 4), 3);
}

#[test]
fn an_owner_is_helped() {
    let mut first = world(1, 2, 4);
    first.owners[0] = Owner::MayCome;
    explore(first, 2);
}

#[test]
fn two_owners_are_helped() {
    let mut first = world(1, 2, 3);
    first.owners = [Owner::MayCome; 2];
    explore(first, 2);
}

#[test]
fn urgent_tasks_are_run() {
    let mut first = world(1, 2, 3);
    first.to_come[Task::Urgent as usize] = 2;
    explore(first, 2);
}

#[test]
fn tasks_are_run_while_the_os_refuses_threads() {
    let mut first = world(2, 3, 4);
    first.helper = Helper::Sleeps;
    first.changes = 3;
    explore(first, 3);
}

#[test]
fn tasks_are_run_without_a_deadline_thread() {
    let mut first = world(1, 2, 3);
    first.helper = Helper::Sleeps;
    first.changes = 2;
    first.around.has_deadlines = false;
    explore(first.clone(), 2);
    first.changes = 1;
    first.owners = [Owner::MayCome; 2];
    explore(first, 2);
}

#[test]
fn everything_at_once() {
    let mut first = world(1, 2, 2);
    first.owners[0] = Owner::MayCome;
    first.helper = Helper::Sleeps;
    first.to_come[Task::Urgent as usize] = 1;
    first.changes = 1;
    explore(first, 2);
}
