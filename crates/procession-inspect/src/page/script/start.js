// What the page knows, and its elements: texts are only ever set as texts, and the names of attributes are fixed.
const $ = (id) => document.getElementById(id);
const start = JSON.parse($("data").textContent);
const { mount, icons } = start;
const home = mount || "/";

let frame = start.frame;
// When it came; when the connection was lost, and when it is tried again; why it is not there, as far as that is known.
let at = performance.now(), lost = 0, retry = 0, tries = 0, why = "";
// The last event has come, or the program has changed.
let over = false;

// The query is the one of the address.
const query = () => new URLSearchParams(location.search);
const link = (q) => { const text = q.toString(); return home + (text ? "?" + text : ""); };
// The time since the frame. When the connection is lost, ages stop.
const passed = () => over ? 0 : (lost || performance.now()) - at;

const make = (tag, cls, text) => {
  const e = document.createElement(tag);
  if (cls) e.setAttribute("class", cls);
  if (text !== undefined && text !== null) e.textContent = text;
  return e;
};
const anchor = (cls, text, href) => { const a = make("a", cls, text); a.setAttribute("href", href); return a; };
const press = (cls, text) => { const b = make("button", cls, text); b.setAttribute("type", "button"); return b; };
const say = (e, text) => { if (e && e.textContent !== text) e.textContent = text; };
const put = (id, text) => say($(id), text);
const point = (a, href) => { if (a && a.getAttribute("href") !== href) a.setAttribute("href", href); };
