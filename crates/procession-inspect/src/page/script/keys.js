// Keys, clicks, and dialogs.
const hold = (on) => {
  if (held === on) return;
  held = on;
  $("held").hidden = !on;
  if (!on && waiting) table();
};
let inside = false;
rows.addEventListener("pointerenter", (e) => { if (e.pointerType === "mouse") { inside = true; hold(true); } });
rows.addEventListener("pointerleave", () => { inside = false; if (!rows.contains(document.activeElement)) hold(false); });
rows.addEventListener("focusin", () => hold(true));
// Resume is a part of the table, until it is pressed.
rows.addEventListener("focusout", (e) => { const to = e.relatedTarget; if (!inside && to && !rows.contains(to) && !$("held").contains(to)) hold(false); });
$("held").querySelector("button").addEventListener("click", () => { hold(false); $("table").focus({ preventScroll: true }); });

// The selected row.
const here = () => cursor && elements.get(cursor) || null;
function go(e) {
  if (!e) return;
  const old = here();
  if (old) { old.e.classList.remove("here"); old.e.setAttribute("tabindex", "-1"); }
  cursor = e.getAttribute("data-key");
  e.classList.add("here");
  e.setAttribute("tabindex", "0");
  e.focus();
  e.scrollIntoView({ block: "nearest" });
}
const step = (by) => {
  const list = [...rows.children], i = here() ? list.indexOf(here().e) : by > 0 ? -1 : list.length;
  go(list[Math.max(0, Math.min(list.length - 1, i + by))]);
};
const nextOf = (is) => {
  const list = [...rows.children], i = here() ? list.indexOf(here().e) : -1;
  for (let n = 1; n <= list.length; n++) {
    const e = list[(i + n) % list.length], x = elements.get(e.getAttribute("data-key"));
    if (x && is(x.row)) { go(e); return true; }
  }
  return false;
};
// A process that has failed and is Closed has no row, only its place in the panel.
const nextFailed = () => {
  const list = [...$("failures").querySelectorAll("li")], i = list.indexOf(document.activeElement);
  if (i < 0 && nextOf((r) => r.failed)) return;
  if (list.length) list[(i + 1) % list.length].focus();
};

// Dialogs give the focus back, even if the row that had it was made anew.
const stack = [];
const top = () => stack.filter((d) => d.open).pop();
function dialog(id) {
  const d = $(id);
  if (d.open) return;
  stack.push(d);
  d.showModal();
}
for (const d of document.querySelectorAll("dialog")) {
  d.addEventListener("close", () => { stack.splice(stack.indexOf(d), 1); if (document.activeElement === document.body && !top()) { if (here()) here().e.focus(); else $("table").focus(); } });
  d.querySelector(".close").addEventListener("click", () => d.close());
}
$("help-open").hidden = false;
$("help-open").addEventListener("click", () => dialog("help"));
for (const b of $("sorts").querySelectorAll("[data-sort]")) b.addEventListener("click", () => { $("sorts").close(); visit(sorted(b.getAttribute("data-sort"))); });

async function details(key) {
  const href = mount + "/process/" + key, into = $("details").firstElementChild;
  const answer = await fetch(href + ".json").catch(() => null);
  if (!answer || !answer.ok) into.replaceChildren(make("h2", "", "Details"), make("p", "empty", answer ? "This process is Closed." : "The connection is lost."));
  else {
    const d = await answer.json(), p = d.process, list = make("dl");
    const pair = (name, value) => { const dd = make("dd"); dd.append(value); list.append(make("dt", "", name), dd); };
    const [cls, text] = phase(p);
    pair("Phase", make("span", "badge " + cls, text));
    if (p.for_ms !== null) pair("For", age(p.for_ms));
    if (p.reason) pair("Reason", p.reason.replaceAll("_", " "));
    if (p.work) pair("Work", workText(p.work, 0));
    pair("Made at", make("span", "site", p.site));
    if (d.aborting_ms !== null) pair("Aborted", age(d.aborting_ms) + " ago");
    for (const slot of d.held_slots) pair("Held slot", slot.site + ", for " + age(slot.held_ms));
    const parts = [make("h2", "", d.who), list];
    for (const error of d.errors) parts.push(make("h3", "", "Error"), make("pre", "", error));
    const edges = make("ul");
    for (const x of d.edges) { const li = make("li"); li.append(anchor("label", x.label, mount + "/process/" + x.key), " ", make("span", "dim", x.edge.replaceAll("_", " "))); edges.append(li); }
    if (d.edges_more) edges.append(make("li", "dim", "… and " + count(d.edges_more) + " more"));
    parts.push(make("h3", "", "Closes or waits for"), d.edges.length ? edges : make("p", "empty", "Nothing."), anchor("", "As a page", href));
    into.replaceChildren(...parts);
  }
  dialog("details");
}

// Links that only change the rows do not load the page again.
document.addEventListener("click", (e) => {
  const a = e.target.closest("a");
  if (!a || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || a.origin !== location.origin || a.hasAttribute("download")) return;
  const key = a.hash.startsWith("#p") ? decodeURIComponent(a.hash.slice(2)) : "";
  const one = a.classList.contains("label") && a.pathname.match(/\/process\/(\d+)$/);
  if (a.classList.contains("button") && key) {
    if (elements.has(key)) go(elements.get(key).e); else { wanted = key; visit(home); }
  } else if (one) details(one[1]);
  else if (a.pathname === home && !a.hash) visit(a.pathname + a.search);
  else return;
  e.preventDefault();
});

const filter = $("filter"), field = filter.elements.q;
function submit() {
  const q = query(), scope = filter.elements.scope.value;
  if (field.value.trim()) q.set("q", field.value.trim()); else q.delete("q");
  if (scope && scope !== frame.view.scope) q.set("scope", scope);
  visit(link(q));
}
filter.addEventListener("submit", (e) => { e.preventDefault(); wanted = "first"; submit(); });
for (const input of filter.querySelectorAll("[name=scope]")) input.addEventListener("change", submit);

function leave() {
  if (top()) return top().close();
  if (document.activeElement === field && (field.value || query().has("q"))) { field.value = ""; return submit(); }
  if (document.activeElement === field && here()) return go(here().e);
  hold(false);
  $("table").focus({ preventScroll: true });
}

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape") { e.preventDefault(); return leave(); }
  const x = here(), q = query(), on = e.target, open = top();
  if (on === field) return;
  if (open) {
    const buttons = [...open.querySelectorAll("li button")], by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[e.key];
    if (by && buttons.length) { e.preventDefault(); buttons[(buttons.indexOf(document.activeElement) + by + buttons.length) % buttons.length].focus(); }
    if (e.key === "?") { e.preventDefault(); dialog("help"); }
    return;
  }
  // What these keys do to a link, a button or a choice is more important.
  if (on.closest("a, button, [type=radio]") && ["Enter", " "].includes(e.key)) return;
  if (on.matches("[type=radio]") && e.key.startsWith("Arrow")) return;
  const keys = {
    "/": () => { field.focus(); field.select(); },
    j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    ArrowRight: () => { if (x && isOpen(x.row) === false) visit(toggled(x.row)); },
    ArrowLeft: () => { if (!x) return; if (isOpen(x.row)) visit(toggled(x.row)); else if (elements.has(String(x.row.parent))) go(elements.get(String(x.row.parent)).e); },
    Enter: () => { if (!x || on !== x.e) return false; if (x.row.label !== undefined) details(x.row.key); else { const a = x.e.querySelector("a"); if (a) a.click(); } },
    b: () => nextOf((r) => r.blocks), n: nextFailed,
    o: () => { q.set("scope", frame.view.scope === "open" ? "all" : "open"); visit(link(q)); },
    s: () => dialog("sorts"),
    " ": () => hold(!held),
    g: () => location.assign(mount + "/graph" + (x && x.row.label !== undefined ? "?root=" + x.row.key : "")),
    t: () => { if ($("timeline")) location.assign($("timeline").href); },
    y: () => { if (x) copy([...x.e.children].map((td) => td.textContent.trim()).join("  ")); },
    "?": () => dialog("help"),
  };
  if (Object.hasOwn(keys, e.key) && keys[e.key]() !== false) e.preventDefault();
});

show();
setInterval(ticks, 100);
connect();
