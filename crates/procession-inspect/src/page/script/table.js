// The table. While the order is held, cells change, but no row moves, disappears, or appears.
const rows = $("rows"), elements = new Map();
let held = false, waiting = false, cursor = null;
// The user has asked for other rows: they come even if the order is held. Then the row with this key is selected, or the first one.
let asked = false, wanted = null;

const opened = (change) => {
  const q = query(), keys = new Set((q.get("open") || "").split(",").filter(Boolean));
  change(keys);
  if (keys.size) q.set("open", [...keys].join(",")); else q.delete("open");
  return link(q);
};
const forget = (keys, fold) => { for (const k of [...keys]) if (k.split("~")[0] === fold) keys.delete(k); };
const toggled = (row) => opened((keys) => {
  const key = String(row.key);
  if (row.fold) {
    forget(keys, key);
    if (!row.fold.shown) keys.add(key);
  } else {
    keys.delete(key);
    keys.delete("-" + key);
    keys.add(row.expanded ? "-" + key : key);
  }
});
const isOpen = (row) => row.fold ? row.fold.shown > 0 : row.expanded;

function tr(row) {
  const e = make("tr"), first = make("td", "process"), key = String(row.key);
  for (const [name, value] of [["role", "row"], ["id", "p" + key], ["data-key", key], ["aria-level", row.depth + 1], ["tabindex", "-1"]]) e.setAttribute(name, value);
  for (let i = 0; i < Math.min(row.depth, 12); i++) first.append(make("i", "in"));
  if (row.depth > 12) first.append(make("span", "dim", "⋯"));
  e.append(first);
  const cell = (cls, text) => { const td = make("td", cls, text); e.append(td); return td; };
  if (row.next) next(row.next, first);
  else if (row.reference) {
    first.append("↗ ", anchor("", row.reference.label, mount + "/process/" + row.reference.to), make("span", "dim", row.reference.see ? " (see " + row.reference.see + ")" : ""));
    cell("").setAttribute("colspan", "6");
  } else if (row.fold) fold(row, e, first, cell);
  else process(row, e, first, cell);
  for (const td of e.children) td.setAttribute("role", "gridcell");
  if (cursor === key) { e.classList.add("here"); e.setAttribute("tabindex", "0"); }
  return e;
}

function next(n, first) {
  first.setAttribute("colspan", "7");
  const href = opened((keys) => { forget(keys, n.fold); keys.add(n.fold + "~" + (n.pages + 1)); });
  first.append(anchor("", "Next 100", href), make("span", "dim", " of " + count(n.count) + " more in " + frame.program.name));
}

function fold(row, e, first, cell) {
  const f = row.fold, href = toggled(row);
  e.setAttribute("class", "fold");
  e.setAttribute("aria-expanded", f.shown > 0);
  first.append(anchor("arrow", f.shown ? "▾" : "▸", href), anchor("label", f.text, href));
  cell("phase", ["running", "closing", "aborting", "closed", "failed"].filter((k) => f[k]).map((k) => count(f[k]) + " " + k).join(", "));
  cell("for", f.for_ms === null ? "–" : age(f.for_ms));
  cell("work", f.work ? count(f.count) + " × " + (works[f.work] || f.work) : "–");
  cell("open", "–");
  cell("waits", "–");
  cell("site", "");
}

function process(row, e, first, cell) {
  e.setAttribute("class", [row.dimmed && "above", row.blocks && "blocks", row.gone && "gone"].filter(Boolean).join(" "));
  if (row.expanded === null) first.append(make("span", "arrow"));
  else {
    e.setAttribute("aria-expanded", row.expanded);
    const a = anchor("arrow", row.expanded ? "▾" : "▸", toggled(row));
    a.setAttribute("aria-label", row.expanded ? "close" : "open");
    first.append(a);
  }
  if (row.edge && row.edge !== "child" && row.edge !== "no_wait") first.append("⇢ ");
  first.append(anchor("label", row.who || row.label, mount + "/process/" + row.key));
  if (row.blocks) first.append(" ", make("span", "tag", "■ BLOCKS"));
  const [cls, text] = phase(row);
  cell("phase").append(make("span", "badge " + cls, text));
  cell("for", row.for_ms === null ? "–" : age(row.for_ms));
  if (row.error) cell("work").append(make("span", "error", row.error));
  else if (row.work) cell("work", workText(row.work, 0));
  else cell("work none", "–");
  cell("open", row.open ? count(row.open) : "–");
  const waits = row.waits_for.map((x) => x.label);
  if (row.waits_more) waits.push(count(row.waits_more) + " more");
  if (row.open && row.phase === "closing") waits.push(count(row.open) + (row.open === 1 ? " child" : " children"));
  cell("waits", waits.join(", ") || "–");
  cell("site", brief(row.site)).setAttribute("title", row.site);
}

// Everything that an element is made from, without ages.
const shape = (row) => JSON.stringify([row, query().toString()], (k, v) => k === "for_ms" && v !== null ? 0 : v);

function table() {
  const focused = document.activeElement && document.activeElement.closest("#rows tr");
  const part = focused && document.activeElement !== focused ? document.activeElement.getAttribute("class") : null;
  const focusKey = focused ? focused.getAttribute("data-key") : null;
  let list = frame.rows;
  if (held && !asked) {
    const by = new Map(list.map((r) => [String(r.key), r]));
    list = [...rows.children].map((e) => by.get(e.getAttribute("data-key")) || elements.get(e.getAttribute("data-key")).row);
    waiting = true;
  } else {
    const keys = new Set(list.map((r) => String(r.key)));
    for (const [key, { e }] of [...elements]) if (!keys.has(key)) { e.remove(); elements.delete(key); }
    asked = waiting = false;
  }
  let place = rows.firstChild;
  for (const row of list) {
    const key = String(row.key), old = elements.get(key), text = shape(row);
    let e = old && old.e;
    if (!old || old.text !== text) {
      const fresh = tr(row);
      if (e && e.parentNode) { if (place === e) place = fresh; e.replaceWith(fresh); }
      e = fresh;
    }
    elements.set(key, { e, row, text });
    if (place === e) place = e.nextSibling; else rows.insertBefore(e, place);
  }
  while (place) { const after = place.nextSibling; place.remove(); place = after; }
  if (focusKey && !rows.contains(document.activeElement)) {
    const found = elements.get(focusKey), inner = found && part && found.e.getElementsByClassName(part)[0];
    if (found) (inner || found.e).focus({ preventScroll: true }); else $("table").focus({ preventScroll: true });
  }
  below();
}

// What is said instead of rows, or below them.
function below() {
  const v = frame.view, empty = $("empty"), parts = [];
  const to = (text, change) => { if (over) return; const q = query(); change(q); parts.push(anchor("", text, link(q))); };
  if (v.total > 1000000) parts.push("There are more than 1,000,000 processes: only the counts, the blockers and the failures are shown.");
  else if (!v.matches && v.q) { parts.push("No process matches “" + v.q + "”. "); to("Clear filter", (q) => q.delete("q")); }
  else if (!v.matches) { parts.push("No process is “" + v.scope + "”. "); to("Show all", (q) => q.set("scope", "all")); }
  else if (v.total === 1) parts.push(frame.program.name + " has no children yet.");
  else if (v.hidden) parts.push(v.sort === "tree" ? count(v.hidden) + " more processes are not shown; filter to see them" : count(v.rows) + " of " + count(v.matches) + "; filter to see others");
  if (v.root !== null) { parts.push(" "); to("Show the whole tree", (q) => q.delete("root")); }
  const text = parts.map((p) => p.textContent || p).join("") + link(query());
  if (empty.getAttribute("data-text") !== text) { empty.setAttribute("data-text", text); empty.replaceChildren(...parts); }
  put("matches", v.q ? count(v.matches) + " of " + count(v.total) + " match" : "");
}

// Ages, which are counted between two frames.
function ticks() {
  header();
  if (lost || over) return;
  const d = passed();
  for (const { x, since } of lines) {
    // The ages in the text, in the order in which the core writes them.
    const ages = [x.for_ms, x.aborting_ms].filter((ms) => ms !== null);
    say(since, x.since.replace(AGE, (text) => ages.length ? age(ages.shift() + d) : text));
  }
  for (const { e, row } of elements.values()) {
    const p = row.fold || row;
    if (row.gone || row.next || row.reference) continue;
    const set = (cls, text) => say(e.getElementsByClassName(cls)[0], text);
    if (p.for_ms !== null && p.for_ms !== undefined) set("for", age(p.for_ms + d));
    if (row.work && row.work.for_ms !== null && !row.error && !row.fold) set("work", workText(row.work, d));
  }
}

function show() {
  blockers();
  failures();
  addresses();
  table();
  ticks();
  if (wanted === null) return;
  const first = [...rows.children].find((e) => !e.classList.contains("above"));
  const found = wanted === "first" ? first : elements.has(wanted) ? elements.get(wanted).e : null;
  wanted = null;
  if (found) go(found); else $("table").focus();
}
