(() => {
  const $ = (id) => document.getElementById(id);
  const { mount, states, frame: first } = JSON.parse($("data").textContent);
  let frame = first, at = performance.now(), source = null, timer = 0, over = false, lost = false;
  // Texts are only ever set as texts.
  const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.setAttribute("class", cls);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const put = (e, text) => { if (e.textContent !== text) e.textContent = text; };
  const next = (u, now) => {
    const left = (time) => age(Math.max(0, Date.parse(time) - now));
    if (u.restart_at) return "restart in " + left(u.restart_at);
    if (u.deadline_at) return u.aborted ? "aborted; stuck in " + left(u.deadline_at) : "abort in " + left(u.deadline_at);
    return u.aborted ? "aborted" : "–";
  };
  function ticks() {
    const now = Date.parse(frame.at) + (lost || over ? 0 : performance.now() - at);
    [...$("rows").children].forEach((row, i) => {
      const u = frame.units[i];
      if (!u) return;
      put(row.children[2], age(Math.max(0, now - Date.parse(u.since))));
      const then = next(u, now);
      put(row.children[4], then);
      row.children[4].classList.toggle("none", then === "–");
    });
    put($("live"), over ? "no longer updated" : (lost ? "⚠ Connection lost; state of " : "live ") + frame.at.slice(11, 19));
  }
  function show() {
    const kinds = [["running", "running"], ["starting", "starting"], ["stopping", "stopping"], ["waiting", "waiting"], ["stuck", "stuck"], ["ended", "ended"], ["idle", "not running"]];
    $("managers").replaceChildren(...frame.managers.map((m) => {
      const li = make("li"), counts = kinds.filter(([k]) => m[k]).map(([k, word]) => count(m[k]) + " " + word);
      li.append(make("b", "", m.name), ": " + [count(m.units) + (m.units === 1 ? " unit" : " units"), ...counts].join(", "));
      if (m.owner) li.append(" · owner " + m.owner.program + (m.owner.manager === null ? ", not registered" : ", manager " + m.owner.manager));
      return li;
    }));
    $("rows").replaceChildren(...frame.units.map((u) => {
      const row = make("tr"), [cls, words] = states[u.state] || ["closed", u.state];
      const cell = (name, text) => { const td = make("td", name, text); row.append(td); return td; };
      row.setAttribute("data-key", u.key);
      cell("process", u.key).setAttribute("title", u.key);
      cell("phase").append(make("span", "badge " + cls, words));
      cell("for", ""); cell("restarts", String(u.restarts)); cell("next", "");
      const last = u.error === null ? cell("last none", "–") : cell("last");
      if (u.error !== null) { last.setAttribute("title", u.error); last.append(make("span", "error", u.error)); }
      cell("manager", u.manager); cell("token", u.token === null ? "–" : String(u.token));
      return row;
    }));
    const all = frame.managers.reduce((n, m) => n + m.units, 0);
    put($("empty"), all === 0 ? "There are no units." : frame.units.length < all ? count(frame.units.length) + " of " + count(all) + " units; those that need attention come first" : "");
    ticks();
  }
  function take(fresh) {
    // The state of the program and another run change more than the table. A program that is closed answers no more.
    const is_other = fresh.summary.state !== frame.summary.state && fresh.summary.state !== "closed" || fresh.program && fresh.program.run !== frame.program.run;
    const old = frame;
    frame = Object.assign({}, frame, fresh);
    frame.units = fresh.units || old.units;
    frame.managers = fresh.managers || old.managers;
    at = performance.now();
    lost = false;
    if (is_other) { location.reload(); return; }
    if (fresh.units || fresh.managers) show(); else ticks();
  }
  function stop() { if (source) source.close(); source = null; }
  function connect() {
    stop();
    if (over) return;
    source = new EventSource(mount + "/events?tab=units");
    source.addEventListener("frame", (e) => take(JSON.parse(e.data)));
    source.addEventListener("patch", (e) => {
      const patch = JSON.parse(e.data);
      if (patch.base !== frame.seq) connect(); else take(patch);
    });
    source.addEventListener("bye", () => { over = true; stop(); ticks(); });
    source.onerror = () => {
      lost = true;
      ticks();
      if (source && source.readyState === 2) { clearTimeout(timer); timer = setTimeout(connect, 5000); }
    };
  }
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) { if (!source) connect(); } else timer = setTimeout(stop, 30000);
  });
  setInterval(ticks, 500);
  ticks();
  connect();
})();
