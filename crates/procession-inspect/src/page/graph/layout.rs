//! [`places`]: where the nodes of a graph are drawn, in layers from left to right.
//!
//! rust-sugiyama computes the layers. For 200 nodes and [`EDGES`] edges, it needs less than a tenth of a second, but it
//! is not ours, and nothing can stop it. So it runs on a thread of its own, one at a time in a program, and a request
//! waits for it only for a limited time. If there is no layout by then, the nodes are drawn as a list that is indented
//! like a tree, which always works.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rust_sugiyama::configure::{Config, CrossingMinimization, RankingType};
use rust_sugiyama::from_vertices_and_edges;

use super::picked::{Picked, index};

/// The size of a node.
pub(crate) const WIDTH: f64 = 216.0;
pub(crate) const HEIGHT: f64 = 42.0;

/// The space between two nodes in a layer, and what is added to it between two layers.
const SPACE: f64 = 14.0;
const BETWEEN: f64 = 70.0;

/// The maximum number of edges that the layout considers. Others are drawn as well.
const EDGES: usize = 600;

/// The indentation of a list, and the number of levels that are indented.
const INDENT: f64 = 40.0;
const LEVELS: usize = 12;

/// The maximum number of places where edges pass between the nodes of a layer. Further edges go straight to their ends.
const BENDS: usize = 1_000;

/// The height of such a place.
const BEND: f64 = 4.0;

/// A point: its distance from the left and from the top.
pub(crate) type Point = (f64, f64);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Places {
    /// The upper left corners of the nodes.
    pub(crate) corners: Vec<Point>,
    /// For each edge, where it passes between the nodes of a layer: the left ends, in the order of the edge. Edges at
    /// the end of the list may have none.
    pub(crate) bends: Vec<Vec<Point>>,
    /// There was no layout.
    pub(crate) is_list: bool,
}

/// Places the nodes, within this time.
pub(crate) fn places(picked: &Picked<'_>, limit: Duration) -> Places {
    let nodes = picked.nodes.len();
    let edges: Vec<(usize, usize)> =
        picked.edges.iter().take(EDGES).map(|edge| (edge.from, edge.to)).collect();
    let places = within(&TURNS, limit, move || layered(nodes, &edges));
    places.flatten().unwrap_or_else(|| list(picked))
}

/// The library is asked twice: first for the layers, and then for places between the nodes of the layers that an edge
/// crosses as well.
fn layered(nodes: usize, edges: &[(usize, usize)]) -> Option<Places> {
    let first = laid_out(nodes, 0, edges)?;
    let layers: Vec<usize> =
        first.iter().map(|(x, _)| (x / (WIDTH + BETWEEN + SPACE)).round() as usize).collect();
    let (mut parts, mut bends) = (Vec::new(), Vec::new());
    let mut used = 0;
    for &(from, to) in edges {
        // From left to right, so that the layers stay as they are.
        let is_back = layers[from] > layers[to];
        let (left, right) = if is_back { (to, from) } else { (from, to) };
        let needed = (layers[right] - layers[left]).saturating_sub(1);
        let crossed = if used + needed <= BENDS { needed } else { 0 };
        let mut between: Vec<usize> = (0..crossed).map(|bend| nodes + used + bend).collect();
        used += crossed;
        let stops: Vec<usize> =
            [left].into_iter().chain(between.iter().copied()).chain([right]).collect();
        parts.extend(stops.windows(2).map(|pair| (pair[0], pair[1])));
        if is_back {
            between.reverse();
        }
        bends.push(between);
    }
    let mut corners = laid_out(nodes, used, &parts)?;
    let at = |bend: usize| corners[bend];
    let bends = bends.into_iter().map(|bends| bends.into_iter().map(at).collect()).collect();
    corners.truncate(nodes);
    Some(Places { corners, bends, is_list: false })
}

/// The upper left corners of the nodes, and of the bends, whose numbers follow.
fn laid_out(nodes: usize, bends: usize, edges: &[(usize, usize)]) -> Option<Vec<Point>> {
    let config = Config {
        minimum_length: 1,
        vertex_spacing: SPACE,
        dummy_vertices: true,
        dummy_size: 1.0,
        // The other rankings, and the search for further crossings, take minutes for dense graphs.
        ranking_type: RankingType::Up,
        c_minimization: CrossingMinimization::Barycenter,
        transpose: false,
    };
    let height = |vertex: usize| if vertex < nodes { HEIGHT } else { BEND };
    // Layers are from top to bottom there, and the place of a vertex is its centre.
    let vertices: Vec<(u32, (f64, f64))> = (0..nodes + bends)
        .map(|vertex| (index(vertex), (height(vertex), WIDTH + BETWEEN)))
        .collect();
    let edges: Vec<(u32, u32)> = edges.iter().map(|&(from, to)| (index(from), index(to))).collect();
    let mut corners = vec![None; vertices.len()];
    for (layout, ..) in from_vertices_and_edges(&vertices, &edges, &config) {
        for (vertex, (across, along)) in layout {
            *corners.get_mut(vertex)? = Some((along, across - height(vertex) / 2.0));
        }
    }
    let is_finite = |point: &Point| point.0.is_finite() && point.1.is_finite();
    let corners: Option<Vec<Point>> =
        corners.into_iter().map(|corner| corner.filter(is_finite)).collect();
    let mut corners = corners?;
    let top = corners.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    corners.iter_mut().for_each(|(_, y)| *y -= top);
    Some(corners)
}

/// The nodes, each below the one that it was found from.
pub(crate) fn list(picked: &Picked<'_>) -> Places {
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); picked.nodes.len()];
    for (number, node) in picked.nodes.iter().enumerate().skip(1) {
        below[node.from].push(number);
    }
    let mut corners = vec![(0.0, 0.0); picked.nodes.len()];
    let (mut stack, mut y) = (vec![0], 0.0);
    while let Some(number) = stack.pop() {
        let level = picked.nodes[number].depth.min(LEVELS);
        corners[number] = (INDENT * level as f64, y);
        y += HEIGHT + SPACE;
        stack.extend(below[number].iter().rev());
    }
    Places { corners, bends: Vec::new(), is_list: true }
}

/// Runs a function on another thread. `None` if it panics or takes too long, or if the one before it still runs then.
fn within<T: Send + 'static>(
    turns: &'static Turns,
    limit: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let deadline = Instant::now() + limit;
    let turn = turns.take(deadline)?;
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let _turn = turn;
        if let Ok(value) = procession::support::catch(run) {
            // The request may have gone.
            let _sent = sender.send(value);
        }
    };
    let thread = std::thread::Builder::new().name("procession-inspect".to_owned());
    thread.spawn(run).ok()?;
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// The layouts of the program take turns.
static TURNS: Turns = Turns::new();

struct Turns {
    /// Is a layout being computed?
    is_taken: Mutex<bool>,
    freed: Condvar,
}

impl Turns {
    const fn new() -> Self {
        Self { is_taken: Mutex::new(false), freed: Condvar::new() }
    }

    fn take(&'static self, deadline: Instant) -> Option<Turn> {
        let mut is_taken = self.is_taken.lock();
        while *is_taken {
            if self.freed.wait_until(&mut is_taken, deadline).timed_out() && *is_taken {
                return None;
            }
        }
        *is_taken = true;
        Some(Turn(self))
    }
}

/// Only one exists at a time.
struct Turn(&'static Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Turns, within};

    static OWN: Turns = Turns::new();

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_layout_has_a_deadline_and_the_next_one_its_turn() {
        let (release, blocked) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel();
        let stuck = move || {
            let _released = blocked.recv();
            end.send(()).unwrap();
        };
        assert_eq!(within(&OWN, Duration::from_millis(10), stuck), None);
        // One is still running, so another one does not begin.
        assert_eq!(
            within(&OWN, Duration::from_millis(10), || unreachable!("it has no turn")),
            None::<()>
        );
        release.send(()).unwrap();
        ended.recv_timeout(LONG).unwrap();
        assert_eq!(within(&OWN, LONG, || 7), Some(7));
        assert_eq!(within(&OWN, LONG, || -> u8 { panic!("a bug in the layout") }), None);
        assert_eq!(within(&OWN, LONG, || 8), Some(8));
    }
}
