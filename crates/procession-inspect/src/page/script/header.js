// The header, and the panels of blockers and failures.
let state = "", ended = "";

// The line below the state, with a button: for everything that is not the program's state.
let act = null;
function note(text, button, does) {
  $("note").hidden = !text;
  put("note-text", text);
  $("note-button").hidden = !button;
  put("note-button", button || "");
  act = does || null;
}
$("note-button").addEventListener("click", () => { if (act) act(); });

function header() {
  const s = frame.summary, d = passed(), closing = (s.closing_ms || 0) + (s.state === "closed" ? 0 : d);
  const list = badges(s, d, closing), all = $("badges");
  while (all.children.length > list.length) all.lastChild.remove();
  list.forEach(([cls, text], i) => {
    const e = all.children[i] || all.appendChild(make("span"));
    e.setAttribute("class", "badge " + cls);
    say(e, text);
  });
  put("reason", s.reason || "");
  put("deadline", ended || deadline(s, d));
  put("counts", counts(s));
  put("progress", progress(s, d));
  $("closed").hidden = !(over && act === null) && s.state !== "closed";
  if (lost) {
    const left = Math.max(0, Math.ceil((retry - performance.now()) / 1000));
    const ended = s.state === "closing" || s.state === "aborting" ? " The program has probably exited; it had " + count(open(s)) + (open(s) === 1 ? " process open." : " processes open.") : "";
    const again = why ? why + "; trying again in " + left + " s." : "Retrying in " + left + " s.";
    note("Showing the state of " + clock(frame.at) + ". " + again + ended, "Retry now", againNow);
  }
  const seconds = Math.floor(closing / 1000) + " s ";
  const signs = { running: "● ", closing: (s.stalled ? "■ " : "◐ ") + seconds, aborting: "▲ ", closed: "○ " };
  document.title = (lost ? "⚠ " : signs[s.state] || "") + frame.program.name;
  point($("icon"), icons[lost ? 5 : { running: 0, closing: s.stalled ? 2 : 1, aborting: 4, closed: 3 }[s.state] || 0]);
  // It speaks when the state changes, and never because of an age.
  const now = lost ? "lost" : s.state + (s.stalled ? ", stalled" : "");
  if (now !== state) {
    if (state) put("said", lost ? "Connection lost." : frame.program.name + " is " + now + ". " + deadline(s, d));
    state = now;
  }
}

// The address of the page has changed: everything that depends on it.
function addresses() {
  const q = query();
  point($("json"), mount + "/snapshot.json?" + q);
  const sort = frame.view.sort, column = sort.replace("-", "");
  for (const th of document.querySelectorAll("th[data-sort]")) {
    const name = th.getAttribute("data-sort"), is = name === column, tree = name === "name" && column === "tree";
    const a = th.firstElementChild, sign = is || tree ? sort.startsWith("-") ? " ▼" : " ▲" : "";
    point(a, sorted(name));
    say(a, a.textContent.replace(/ [▲▼]$/, "") + sign);
    if (is) th.setAttribute("aria-sort", sign === " ▼" ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
    if (name !== "name") continue;
    const second = th.lastElementChild;
    if (tree !== (second.tagName === "SPAN")) second.replaceWith(tree ? make("span", "dim", " tree") : anchor("dim", " tree", sorted("tree")));
    else if (!tree) point(second, sorted("tree"));
  }
  for (const input of document.querySelectorAll("#filter [name=scope]")) input.checked = input.value === frame.view.scope;
  const field = $("filter").elements.q;
  if (document.activeElement !== field) field.value = q.get("q") || "";
}

// The other way round if it is the order already.
const sorted = (column) => {
  const q = query();
  if (column === "tree") q.delete("sort"); else q.set("sort", q.get("sort") === column ? "-" + column : column);
  return link(q);
};

// Blockers: lines stay where they are, so that a button keeps the focus and a selection stays.
const panel = { title: make("h2"), empty: make("p", "empty"), list: make("ol"), more: make("p", "dim"), others: anchor("others", "", "#blockers"), fewer: anchor("fewer", "▾ only the first", "#processes") };
$("blockers").replaceChildren(panel.title, panel.empty, panel.list, panel.more, panel.fewer, panel.others);
const lines = [];

function blockers() {
  const s = frame.summary, list = frame.blockers, total = list.reduce((n, x) => n + 1 + x.more, frame.blockers_more);
  say(panel.title, s.state === "running" ? "Waiting for" : "Waiting for (" + count(total) + ")");
  const empty = s.state === "running" ? "No blockers: nothing is closing." : list.length ? "" : s.state === "closed" ? "Nothing: everything is Closed." : "It is not known what it waits for.";
  say(panel.empty, empty);
  panel.empty.hidden = !empty;
  say(panel.more, "and " + count(frame.blockers_more) + " more");
  panel.more.hidden = !frame.blockers_more;
  say(panel.others, "▸ " + (list.length - 1) + " more");
  panel.others.hidden = panel.fewer.hidden = list.length < 2;
  while (lines.length > list.length) lines.pop().e.remove();
  list.forEach((x, i) => {
    const l = lines[i] || (lines[i] = line());
    l.x = x;
    say(l.who, x.who);
    say(l.what, x.what);
    say(l.site, brief(x.site));
    if (l.site.title !== x.site) l.site.setAttribute("title", x.site);
    point(l.show, home + "#p" + x.chain[x.chain.length - 1].key);
  });
}

function line() {
  const l = { e: make("li"), who: make("b", "who"), what: make("span", "what"), site: make("span", "site"), since: make("span", "since"), show: anchor("button", "Show", home) };
  const acts = make("span", "acts"), button = press("", "Copy");
  button.addEventListener("click", () => copy(l.x.text, button));
  acts.append(l.show, button);
  l.e.append(l.who, l.what, l.site, l.since, acts);
  panel.list.append(l.e);
  return l;
}

// Without a secure connection there is no clipboard, but a selection can be copied.
function copy(text, button) {
  const done = () => { if (button) { say(button, "Copied"); setTimeout(() => say(button, "Copy"), 2000); } };
  const selected = () => {
    const field = make("textarea", "quiet", text), focused = document.activeElement;
    document.body.append(field);
    field.select();
    const is = document.execCommand("copy");
    field.remove();
    if (focused) focused.focus();
    if (is) done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, selected); else selected();
}

function failures() {
  const s = frame.summary, parts = [make("h2", "", "Failures (" + count(s.failed) + ")")], list = make("ul");
  if (!frame.failures.length) parts.push(make("p", "empty", "Nothing has failed."));
  for (const x of frame.failures) {
    const li = make("li");
    li.setAttribute("tabindex", "-1");
    const site = make("span", "site", "(" + brief(x.site) + ")");
    site.setAttribute("title", x.site);
    const path = make("b");
    path.append(anchor("label", x.who, mount + "/process/" + x.key));
    li.append(make("span", "mark", "✕ "), clock(x.at) + " ", path, " failed: " + x.error + " ", site);
    list.append(li);
  }
  parts.push(list);
  if (frame.failures_dropped) parts.push(make("p", "dim", count(frame.failures_dropped) + " older dropped"));
  if (parts.map((e) => e.textContent).join("") !== $("failures").textContent || list.children.length && !$("failures").querySelector("[tabindex]")) $("failures").replaceChildren(...parts);
}
