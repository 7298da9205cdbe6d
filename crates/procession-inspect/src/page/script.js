"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const start = JSON.parse($("data").textContent);
  const mount = start.mount, icons = start.icons;
  let frame = start.frame, at = performance.now(), seen = 0, source = null, lost = 0, tries = 0, timer = 0, over = false;
  let held = false, waiting = null, cursor = null, hiddenTimer = 0, state = "";
  const query = () => new URLSearchParams(location.search);

  // Texts, as the server writes them.
  const pad = (n) => String(n).padStart(2, "0");
  const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
  const age = (ms) => {
    const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(s / 3600);
    if (s < 1) return Math.floor(ms) + " ms";
    if (s < 60) return s + "." + Math.floor(ms % 1000 / 100) + " s";
    if (s < 3600) return m + " min " + pad(s % 60) + " s";
    if (s < 86400) return h + " h " + pad(m % 60) + " min";
    return Math.floor(h / 24) + " d " + h % 24 + " h";
  };
  const span = (ms) => {
    ms = Math.max(0, Math.floor(ms / 100) * 100);
    const s = Math.floor(ms / 1000);
    if (ms === 0) return "0 s";
    if (s < 60) return s > 0 && ms % 1000 === 0 ? s + " s" : age(ms);
    return s < 3600 && s % 60 === 0 ? s / 60 + " min" : age(ms);
  };
  const works = { thread_body: "thread body", async_body: "async body", teardown: "teardown", async_teardown: "async teardown", teardown_queued: "teardown, queued", hook: "closing hook", future: "future" };

  // Elements: texts are only ever set as texts, and the names of attributes are fixed.
  const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.setAttribute("class", cls);
    if (text !== undefined && text !== null) e.textContent = text;
    return e;
  };
  const anchor = (cls, text, href) => { const a = make("a", cls, text); a.setAttribute("href", href); return a; };
  const put = (id, text) => { const e = $(id); if (e && e.textContent !== text) e.textContent = text; };
  const badge = (cls, text) => make("span", "badge " + cls, text);
  const link = (params) => { const q = params.toString(); return (mount || "/") + (q ? "?" + q : ""); };
  const opened = (change) => {
    const q = query(), keys = new Set((q.get("open") || "").split(",").filter(Boolean));
    change(keys);
    if (keys.size) q.set("open", [...keys].join(",")); else q.delete("open");
    return link(q);
  };
  const toggled = (row) => opened((keys) => {
    const p = row.fold ? null : row.expanded, key = String(row.key);
    if (row.fold) {
      for (const k of [...keys]) if (k.split("~")[0] === key) keys.delete(k);
      if (!row.fold.shown) keys.add(key);
    } else { keys.delete(key); keys.delete("-" + key); keys.add(p ? "-" + key : key); }
  });

  const passed = () => lost || over ? 0 : performance.now() - at;
  const stateOf = (s) => s.state + (s.stalled ? " stalled" : "");

  function header() {
    const s = frame.summary, d = lost ? lost - at : passed(), closing = (s.closing_ms || 0) + (s.state === "closed" ? 0 : d);
    const badges = $("badges");
    const list = [];
    if (lost) list.push(["lost", "⚠ Connection lost " + age(performance.now() - lost) + " ago"]);
    if (s.state === "running") list.push(["running", "● Running " + age(s.up_ms + d)]);
    if (s.state === "closing") list.push(["closing", "◐ Closing " + age(closing)]);
    if (s.state === "aborting") list.push(["aborting", "▲ Aborting " + age((s.aborting_ms || 0) + d) + " (closing " + age(closing) + ")"]);
    if (s.state === "closed") list.push(["closed", "○ Closed after " + age(closing)]);
    if (s.stalled && s.state !== "aborting") list.push(["stalled", "■ STALLED"]);
    while (badges.children.length > list.length) badges.lastChild.remove();
    list.forEach(([cls, text], i) => {
      let e = badges.children[i];
      if (!e) { e = make("span"); badges.append(e); }
      e.setAttribute("class", "badge " + cls);
      if (e.textContent !== text) e.textContent = text;
    });
    put("reason", s.reason || "");
    let deadline = "";
    if (s.state === "closing") deadline = s.abort_in_ms === null ? "no deadline: send the signal again to abort" : "grace ends in " + span(s.abort_in_ms - d) + ", then abort";
    if (s.state === "aborting") deadline = (s.grace_over ? "aborted by grace" : "aborted") + (s.exit_in_ms === null ? "" : " · exit in " + span(s.exit_in_ms - d) + " with code " + s.exit_code);
    if (s.state === "closed") deadline = s.outcome || "";
    if (lost) deadline = "Showing the state of " + frame.at.slice(11, 19) + ". " + deadline;
    put("deadline", deadline);
    const open = s.running + s.closing + s.aborting, kinds = [];
    if (s.running) kinds.push(count(s.running) + " running");
    if (s.closing) kinds.push(count(s.closing) + " closing");
    if (s.aborting) kinds.push(count(s.aborting) + " aborting");
    let counts = count(open) + " open" + (kinds.length && !(s.state === "running" && !s.closing) ? ": " + kinds.join(", ") : "");
    if (s.state !== "running") counts += " · " + count(s.closed) + " closed";
    put("counts", counts + " · " + count(s.failed) + " failed");
    let progress = "";
    if (s.state === "closing" || s.state === "aborting") progress = s.closed_recently ? count(s.closed_recently) + " closed in the last second" : s.last_closed_ms === null ? "" : "nothing closed for " + age(s.last_closed_ms + d);
    put("progress", progress);
    $("closed").hidden = s.state !== "closed";
    const sign = lost ? "⚠ " : { running: "● ", closing: s.stalled ? "■ " + Math.floor(closing / 1000) + " s " : "◐ " + Math.floor(closing / 1000) + " s ", aborting: "▲ ", closed: "○ " }[s.state] || "";
    document.title = sign + frame.program.name;
    const icon = { running: 0, closing: s.stalled ? 2 : 1, aborting: 4, closed: 3 }[s.state] || 0;
    if ($("icon").getAttribute("href") !== icons[icon]) $("icon").setAttribute("href", icons[icon]);
    if (!lost && !over) put("live", "live " + frame.at.slice(11, 19));
    if (stateOf(s) !== state) {
      if (state) put("said", frame.program.name + " is " + stateOf(s) + ". " + deadline);
      state = stateOf(s);
    }
  }

  function panels() {
    const s = frame.summary, b = $("blockers"), total = frame.blockers.reduce((n, x) => n + 1 + x.more, 0) + frame.blockers_more;
    const parts = [make("h2", "", s.state === "running" ? "Waiting for" : "Waiting for (" + count(total) + ")")];
    if (s.state === "running") parts.push(make("p", "empty", "No blockers: nothing is closing."));
    else if (!frame.blockers.length) parts.push(make("p", "empty", s.state === "closed" ? "Nothing: everything is Closed." : "Nothing that can be named."));
    const list = make("ol");
    for (const x of frame.blockers) {
      const i = x.text.indexOf(": "), li = make("li");
      li.append(make("b", "", i < 0 ? x.text : x.text.slice(0, i)), " ", make("span", "", i < 0 ? "" : x.text.slice(i + 2)));
      list.append(li);
    }
    parts.push(list);
    if (frame.blockers_more) parts.push(make("p", "dim", "and " + count(frame.blockers_more) + " more"));
    if (!b.contains(document.getSelection().anchorNode) || document.getSelection().isCollapsed) b.replaceChildren(...parts);
    const f = [make("h2", "", "Failures (" + count(s.failed) + ")")];
    if (!frame.failures.length) f.push(make("p", "empty", "Nothing has failed."));
    const ul = make("ul");
    for (const x of frame.failures) {
      const li = make("li");
      li.append(make("span", "mark", "✕ "), x.at.slice(11, 19) + " ", make("b", "", x.path.split("/").join(" › ")), " failed: " + x.error + " ", make("span", "site", "(" + x.site + ")"));
      ul.append(li);
    }
    f.push(ul);
    if (frame.failures_dropped) f.push(make("p", "dim", count(frame.failures_dropped) + " older dropped"));
    const text = f.map((e) => e.textContent).join();
    if (text !== $("failures").textContent) $("failures").replaceChildren(...f);
  }

  const phase = (p) => p.failed ? ["failed", "✕ Failed"] : p.phase === "closing" ? p.aborting ? ["aborting", "▲ Aborting"] : ["closing", "◐ Closing"] : p.phase === "closed" ? ["closed", "○ Closed"] : ["running", "● Running"];
  const workText = (w, d) => (works[w.kind] || w.kind) + (w.thread ? " `" + w.thread + "`" : "") + (w.for_ms === null ? "" : ", " + age(w.for_ms + d));

  function tr(row) {
    const e = make("tr"), first = make("td", "process"), key = String(row.key);
    e.setAttribute("role", "row");
    e.setAttribute("data-key", key);
    e.setAttribute("aria-level", row.depth + 1);
    e.setAttribute("tabindex", "-1");
    for (let i = 0; i < Math.min(row.depth, 12); i++) first.append(make("i", "in"));
    if (row.depth > 12) first.append(make("span", "dim", "⋯"));
    e.append(first);
    const cell = (cls, text) => { const td = make("td", cls, text); e.append(td); return td; };
    if (row.next) {
      first.setAttribute("colspan", "7");
      first.append(anchor("", "Next 100", opened((keys) => { for (const k of [...keys]) if (k.split("~")[0] === row.next.fold) keys.delete(k); keys.add(row.next.fold + "~" + (row.next.pages + 1)); })), make("span", "dim", " of " + count(row.next.count) + " more"));
    } else if (row.reference) {
      first.append("↗ ", anchor("", row.reference.label, mount + "/process/" + row.reference.to), make("span", "dim", row.reference.see ? " (see " + row.reference.see + ")" : ""));
      cell("").setAttribute("colspan", "6");
    } else if (row.fold) {
      const f = row.fold, href = toggled(row);
      e.setAttribute("class", "fold");
      e.setAttribute("aria-expanded", f.shown > 0);
      first.append(anchor("arrow", f.shown ? "▾" : "▸", href), anchor("label", f.text, href));
      cell("phase", ["running", "closing", "aborting", "closed", "failed"].filter((k) => f[k]).map((k) => count(f[k]) + " " + k).join(", "));
      cell("for", f.for_ms === null ? "–" : age(f.for_ms));
      cell("work", f.work ? count(f.count) + " × " + (works[f.work] || f.work) : "–");
      cell("open", "–"); cell("waits", "–"); cell("site", "");
    } else {
      e.setAttribute("class", (row.dimmed ? "above " : "") + (row.blocks ? "blocks " : "") + (row.gone ? "gone" : ""));
      if (row.expanded === null) first.append(make("span", "arrow"));
      else {
        e.setAttribute("aria-expanded", row.expanded);
        const a = anchor("arrow", row.expanded ? "▾" : "▸", toggled(row));
        a.setAttribute("aria-label", row.expanded ? "close" : "open");
        first.append(a);
      }
      if (row.edge && row.edge !== "child" && row.edge !== "no_wait") first.append("⇢ ");
      first.append(anchor("label", row.path ? row.path.split("/").join(" › ") : row.label, mount + "/process/" + key));
      if (row.blocks) first.append(" ", make("span", "tag", "■ BLOCKS"));
      const [cls, text] = phase(row);
      cell("phase").append(badge(cls, text));
      cell("for", row.for_ms === null ? "–" : age(row.for_ms));
      const w = cell("work", row.work && !row.error ? workText(row.work, 0) : row.error ? undefined : "–");
      if (row.error) w.append(make("span", "error", row.error));
      cell("open", row.open ? count(row.open) : "–");
      const waits = row.waits_for.map((x) => x.label);
      if (row.waits_more) waits.push(count(row.waits_more) + " more");
      if (row.open && row.phase === "closing") waits.push(count(row.open) + (row.open === 1 ? " child" : " children"));
      cell("waits", waits.join(", ") || "–");
      cell("site", row.site.split(/[\/\\]/).slice(-2).join("/")).setAttribute("title", row.site);
    }
    if (cursor === key) { e.classList.add("here"); e.setAttribute("tabindex", "0"); }
    return e;
  }

  const elements = new Map();
  const shape = (row) => JSON.stringify([row, query().get("open")], (k, v) => k === "for_ms" && v !== null ? 0 : v);

  function table() {
    const body = $("rows"), focused = document.activeElement && document.activeElement.closest("tr");
    const part = focused && document.activeElement !== focused ? document.activeElement.getAttribute("class") : null;
    const focusKey = focused ? focused.getAttribute("data-key") : null;
    const keys = new Set(frame.rows.map((r) => String(r.key)));
    let rows = frame.rows;
    if (held) {
      // Cells are updated, but no row moves, disappears, or appears.
      const by = new Map(rows.map((r) => [String(r.key), r]));
      rows = [...body.children].map((e) => by.get(e.getAttribute("data-key")) || elements.get(e.getAttribute("data-key")).row);
      waiting = frame;
    } else for (const key of [...elements.keys()]) if (!keys.has(key)) { elements.get(key).e.remove(); elements.delete(key); }
    let place = body.firstChild;
    for (const row of rows) {
      const key = String(row.key), old = elements.get(key), text = shape(row);
      let e = old && old.e;
      if (!old || old.text !== text) {
        const fresh = tr(row);
        if (e && e.parentNode) { if (place === e) place = fresh; e.replaceWith(fresh); }
        e = fresh;
      }
      elements.set(key, { e, row, text });
      if (place === e) place = e.nextSibling; else body.insertBefore(e, place);
    }
    while (place) { const next = place.nextSibling; place.remove(); place = next; }
    if (focusKey && !body.contains(document.activeElement)) {
      const e = elements.get(focusKey);
      if (e) { const inner = part && e.e.getElementsByClassName(part)[0]; (inner || e.e).focus({ preventScroll: true }); }
    }
    const v = frame.view, empty = $("empty");
    let text = "";
    if (!v.matches && v.q) text = "No process matches “" + v.q + "”. ";
    else if (!v.matches) text = "No process is “" + v.scope + "”. ";
    else if (v.total === 1) text = frame.program.name + " has no children yet.";
    else if (v.hidden) text = v.sort === "tree" ? count(v.hidden) + " more processes are not shown; filter to see them" : count(v.rows) + " of " + count(v.matches) + "; filter to see others";
    if (empty.firstChild === null || empty.getAttribute("data-text") !== text) {
      empty.setAttribute("data-text", text);
      empty.replaceChildren(text);
      if (!v.matches) { const q = query(); q.delete("q"); if (!v.q) q.set("scope", "all"); empty.append(anchor("", v.q ? "Clear filter" : "Show all", link(q))); }
    }
    put("matches", v.q ? count(v.matches) + " of " + count(v.total) + " match" : "");
  }

  function ticks() {
    header();
    if (lost || over) return;
    const d = passed();
    for (const { e, row } of elements.values()) {
      const p = row.fold || row;
      if (row.gone || row.next || row.reference) continue;
      const set = (cls, text) => { const td = e.getElementsByClassName(cls)[0]; if (td && td.textContent !== text) td.textContent = text; };
      if (p.for_ms !== null && p.for_ms !== undefined) set("for", age(p.for_ms + d));
      if (row.work && row.work.for_ms !== null && !row.error && !row.fold) set("work", workText(row.work, d));
    }
  }

  function show() { panels(); table(); ticks(); }

  const older = (row, d) => {
    const r = Object.assign({}, row);
    if (r.fold && r.fold.for_ms !== null) r.fold = Object.assign({}, r.fold, { for_ms: r.fold.for_ms + d });
    if (r.for_ms !== undefined && r.for_ms !== null) r.for_ms += d;
    if (r.work && r.work.for_ms !== null) r.work = Object.assign({}, r.work, { for_ms: r.work.for_ms + d });
    return r;
  };

  function patch(p) {
    const d = Date.parse(p.at) - Date.parse(frame.at), del = new Set(p.del.map(String));
    const rows = new Map(frame.rows.filter((r) => !del.has(String(r.key))).map((r) => [String(r.key), older(r, d)]));
    for (const r of p.set) rows.set(String(r.key), r);
    const order = p.order || [...rows.keys()];
    frame = Object.assign({}, frame, { seq: p.seq, at: p.at, view: p.view, summary: p.summary, blockers: p.blockers, blockers_more: p.blockers_more, failures: p.failures || frame.failures, failures_dropped: p.failures_dropped, rows: order.map((k) => rows.get(String(k))).filter(Boolean) });
  }

  // The connection.
  const alive = () => { at = performance.now(); if (lost) { lost = 0; $("table").classList.remove("lost-table"); } tries = 0; const l = $("live"); l.setAttribute("class", "live"); };

  function connect() {
    clearTimeout(timer);
    if (over || source) return;
    const q = query();
    q.delete("token");
    source = new EventSource(mount + "/events?" + q);
    source.addEventListener("frame", (e) => {
      const f = JSON.parse(e.data);
      if (f.v !== 1) return stop("The program has changed. Reload the page.");
      if (f.program.run !== frame.program.run) {
        put("said", f.program.name + " was restarted (pid " + frame.program.pid + " → " + f.program.pid + ")");
        history.replaceState(null, "", mount || "/");
        elements.clear(); $("rows").replaceChildren(); held = false;
      }
      frame = f; alive(); show();
    });
    source.addEventListener("patch", (e) => {
      const p = JSON.parse(e.data);
      if (p.v !== 1) return stop("The program has changed. Reload the page.");
      if (p.base !== frame.seq) { source.close(); source = null; return connect(); }
      patch(p); alive(); show();
    });
    source.addEventListener("bye", (e) => {
      const b = JSON.parse(e.data);
      over = true; source.close(); source = null;
      if (frame.summary.state !== "closed") frame = Object.assign({}, frame, { summary: Object.assign({}, frame.summary, { state: "closed", stalled: false, closing_ms: b.elapsed_ms, outcome: b.errors[0] || b.outcome }) });
      put("live", "ended " + frame.at.slice(11, 19)); $("live").setAttribute("class", "dim");
      header();
    });
    source.onerror = () => fail();
  }

  function fail() {
    if (source) { source.close(); source = null; }
    if (over) return;
    if (!lost) { lost = performance.now(); $("table").classList.add("lost-table"); $("live").setAttribute("class", "dim"); }
    const wait = [1, 2, 4, 8][tries] || 15;
    tries++;
    const s = frame.summary, open = s.running + s.closing + s.aborting;
    const gone = s.state === "closing" || s.state === "aborting" ? "The program has probably exited; it had " + count(open) + " processes open." : "";
    put("live", "Retrying in " + wait + " s. " + gone);
    if (tries === 1) put("said", "Connection lost. " + gone);
    fetch(mount + "/blockers.json").then((r) => {
      if (r.status === 503) put("live", "100 viewers are connected; trying again in " + wait + " s");
      if (r.status === 401) put("live", "This address needs its token: open the URL the program printed");
      if (r.ok) put("live", "The stream ended; trying again in " + wait + " s");
    }, () => {});
    timer = setTimeout(connect, wait * 1000);
    header();
  }
  const stop = (text) => { over = true; if (source) source.close(); source = null; put("live", text); };
  const again = () => { if (lost) { clearTimeout(timer); connect(); } };
  addEventListener("online", again);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(() => { if (source) { source.close(); source = null; } }, 30000);
    else if (!source && !over) connect();
  });

  // The order is held while the pointer or the focus is in the table.
  const hold = (on) => {
    if (held === on) return;
    held = on;
    $("held").hidden = !on;
    if (!on && waiting) { waiting = null; table(); }
  };
  const body = $("rows");
  let inside = false;
  body.addEventListener("pointerenter", (e) => { if (e.pointerType === "mouse") { inside = true; hold(true); } });
  body.addEventListener("pointerleave", () => { inside = false; if (!body.contains(document.activeElement)) hold(false); });
  body.addEventListener("focusin", () => hold(true));
  body.addEventListener("focusout", (e) => { if (!inside && e.relatedTarget && !body.contains(e.relatedTarget)) hold(false); });
  $("held").querySelector("button").addEventListener("click", () => hold(false));

  // The keyboard.
  const visible = () => [...body.children];
  const go = (e) => {
    if (!e) return;
    const old = cursor && elements.get(cursor);
    if (old) { old.e.classList.remove("here"); old.e.setAttribute("tabindex", "-1"); }
    cursor = e.getAttribute("data-key");
    e.classList.add("here");
    e.setAttribute("tabindex", "0");
    hold(true);
    e.focus();
    e.scrollIntoView({ block: "nearest" });
  };
  const here = () => cursor && elements.has(cursor) ? elements.get(cursor) : null;
  const step = (by) => { const list = visible(), i = here() ? list.indexOf(here().e) : by > 0 ? -1 : list.length; go(list[Math.max(0, Math.min(list.length - 1, i + by))]); };
  const nextOf = (is) => {
    const list = visible(), i = here() ? list.indexOf(here().e) : -1;
    for (let n = 1; n <= list.length; n++) { const e = list[(i + n) % list.length], x = elements.get(e.getAttribute("data-key")); if (x && is(x.row)) return go(e); }
  };
  const sorts = ["tree", "name", "phase", "for", "open"];
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const input = e.target instanceof HTMLInputElement && e.target.type === "search", field = document.querySelector("#filter input[type=search]");
    if (e.key === "Escape") { if (input && field.value) field.value = ""; else if (document.activeElement) { document.activeElement.blur(); hold(false); } return; }
    if (input || e.target instanceof HTMLInputElement) return;
    const x = here(), q = query();
    const keys = {
      "/": () => field.focus(), j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
      ArrowRight: () => { if (x && (x.row.expanded === false || x.row.fold && !x.row.fold.shown)) location.assign(toggled(x.row)); },
      ArrowLeft: () => { if (!x) return; if (x.row.expanded || x.row.fold && x.row.fold.shown) location.assign(toggled(x.row)); else if (x.row.parent !== null && elements.has(String(x.row.parent))) go(elements.get(String(x.row.parent)).e); },
      Enter: () => { if (!x || e.target !== x.e) return false; const a = x.e.getElementsByTagName("a"); if (a.length) a[a.length - 1].click(); },
      b: () => nextOf((r) => r.blocks), n: () => nextOf((r) => r.failed),
      o: () => { q.set("scope", frame.view.scope === "open" ? "all" : "open"); location.assign(link(q)); },
      s: () => { q.set("sort", sorts[(sorts.indexOf(frame.view.sort.replace("-", "")) + 1) % sorts.length]); location.assign(link(q)); },
      " ": () => hold(!held),
      t: () => location.assign(mount + "/timeline.svg"),
      y: () => { if (x && navigator.clipboard) navigator.clipboard.writeText(x.e.textContent); },
      "?": () => put("matches", "/ filter · j k rows · ← → close, open · Enter details · b blocker · n failed · o open/all · s sort · Space hold · t timeline · y copy · Esc leave"),
    };
    if (Object.hasOwn(keys, e.key) && keys[e.key]() !== false) e.preventDefault();
  });

  for (const input of document.querySelectorAll("#filter input[type=radio]")) input.addEventListener("change", () => $("filter").submit());
  show();
  setInterval(ticks, 100);
  connect();
})();
