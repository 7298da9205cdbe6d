// The stream of frames, and what is said when it ends.
let source = null, timer = 0, hidden = 0, shown = "";

const older = (row, d) => {
  const r = Object.assign({}, row);
  if (r.fold && r.fold.for_ms !== null) r.fold = Object.assign({}, r.fold, { for_ms: r.fold.for_ms + d });
  if (r.for_ms !== undefined && r.for_ms !== null) r.for_ms += d;
  if (r.work && r.work.for_ms !== null) r.work = Object.assign({}, r.work, { for_ms: r.work.for_ms + d });
  return r;
};

// The frame after a patch. Keys have the order of the rows unless the patch has one.
function patched(p) {
  const d = Date.parse(p.at) - Date.parse(frame.at), gone = new Set(p.del.map(String));
  const by = new Map(frame.rows.filter((r) => !gone.has(String(r.key))).map((r) => [String(r.key), older(r, d)]));
  for (const r of p.set) by.set(String(r.key), r);
  const order = p.order || [...by.keys()], { v, base, set, del, order: _, ...rest } = p;
  // What is null has not changed.
  const changed = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null));
  return Object.assign({}, frame, changed, { rows: order.map((k) => by.get(String(k))).filter(Boolean) });
}

function alive() {
  at = performance.now();
  tries = 0;
  if (lost) {
    lost = 0;
    $("table").classList.remove("lost-table");
    note("");
  }
  put("live", "live " + clock(frame.at));
  $("live").setAttribute("class", frame.seq % 2 ? "live odd" : "live");
}

const close = () => { clearTimeout(timer); if (source) source.close(); source = null; };
const stop = (text) => { over = true; close(); note(text, "Reload", () => location.reload()); $("live").setAttribute("class", "dim"); header(); };
const againNow = () => { if (lost && !over) { close(); connect(); } };

function connect() {
  clearTimeout(timer);
  if (over || source) return;
  const q = query();
  shown = link(q);
  q.delete("token");
  source = new EventSource(mount + "/events?" + q);
  source.addEventListener("frame", (e) => whole(JSON.parse(e.data)));
  source.addEventListener("patch", (e) => {
    const p = JSON.parse(e.data);
    if (p.v !== 1) return stop("The program has changed.");
    if (p.base !== frame.seq) { close(); return connect(); }
    frame = patched(p);
    alive();
    show();
  });
  source.addEventListener("bye", (e) => bye(JSON.parse(e.data)));
  source.onerror = fail;
}

function whole(f) {
  if (f.v !== 1) return stop("The program has changed.");
  const before = frame.program, q = query(), is_other = f.program.run !== before.run;
  frame = f;
  alive();
  if (is_other) {
    // The keys are those of other processes.
    const text = f.program.name + " was restarted (pid " + before.pid + " → " + f.program.pid + ")";
    elements.clear();
    rows.replaceChildren();
    hold(false);
    cursor = null;
    note(text, "Hide", () => note(""));
    put("said", text);
    say($("program").lastChild, f.program.host);
    say($("program").firstElementChild, "pid " + f.program.pid + " on ");
    if (q.has("open") || q.has("root")) {
      q.delete("open");
      q.delete("root");
      return visit(link(q), true);
    }
  }
  show();
}

// Other rows, without loading the page again.
function visit(href, instead) {
  history[instead ? "replaceState" : "pushState"](null, "", href);
  asked = true;
  close();
  connect();
}
// A link within the page changes nothing.
addEventListener("popstate", () => { if (link(query()) !== shown) visit(link(query()), true); });

function bye(b) {
  over = true;
  close();
  const s = frame.summary, is_closed = s.state === "closed" || b.outcome !== "forced" || b.exit_code === null;
  const code = b.exit_code === null ? "" : " · exit code " + b.exit_code;
  if (is_closed) {
    const outcome = s.state === "closed" && s.outcome || b.errors[0] || b.outcome;
    frame = Object.assign({}, frame, { blockers: [], blockers_more: 0, summary: Object.assign({}, s, { state: "closed", stalled: false, closing_ms: b.elapsed_ms, outcome: outcome + code }) });
    blockers();
  } else ended = "ended by force" + code + "; " + count(open(s)) + (open(s) === 1 ? " process was" : " processes were") + " open";
  put("live", "ended " + clock(frame.at));
  $("live").setAttribute("class", "dim");
  save();
  header();
}

// The server ends now, so the links must lead to what the page has.
function save() {
  const keep = (id, name, blob) => { const a = $(id); if (a) { point(a, URL.createObjectURL(blob)); a.setAttribute("download", name); } };
  keep("save-json", "snapshot.json", new Blob([JSON.stringify(frame)], { type: "application/json" }));
  if (!$("save-timeline")) return;
  const gone = () => { $("save-timeline").hidden = true; };
  fetch(mount + "/timeline.svg").then((r) => r.ok ? r.blob().then((b) => keep("save-timeline", "timeline.svg", b)) : gone()).catch(gone);
}

function fail() {
  close();
  if (over) return;
  if (!lost) {
    lost = performance.now();
    $("table").classList.add("lost-table");
    $("live").setAttribute("class", "dim");
    put("live", "");
  }
  const wait = [1, 2, 4, 8][tries] || 15;
  tries++;
  retry = performance.now() + wait * 1000;
  timer = setTimeout(connect, wait * 1000);
  // The stream does not tell why it ended.
  const reasons = { 503: "100 viewers are connected", 401: "This address needs its token: open the URL the program printed", 200: "The stream has ended" };
  fetch(mount + "/events", { method: "HEAD" }).then((r) => { why = reasons[r.status] || ""; }, () => { why = ""; });
  header();
}

addEventListener("online", againNow);
document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(close, 30000);
  else if (!over && (lost || !source)) { close(); connect(); }
});
