// Words, as the server writes them.
const clock = (time) => time.slice(11, 19);
// Without the directories above the last one.
const brief = (site) => site.split(/[\/\\]/).slice(-2).join("/");

const AGE = /\d+ d \d+ h|\d+ h \d+ min|\d+ min \d+ s|[\d.]+ (?:µs|ms|s)\b/g;

const span = (ms) => {
  ms = Math.max(0, Math.floor(ms / 100) * 100);
  const s = Math.floor(ms / 1000);
  if (ms === 0) return "0 s";
  if (s < 60) return s > 0 && ms % 1000 === 0 ? s + " s" : age(ms);
  return s < 3600 && s % 60 === 0 ? s / 60 + " min" : age(ms);
};

const works = {
  thread_body: "thread body", async_body: "async body", teardown: "teardown", async_teardown: "async teardown",
  teardown_queued: "teardown, queued", hook: "closing hook", future: "future",
  failure_hook: "failure hook or subscriber",
};
const workText = (w, d) => (works[w.kind] || w.kind) + (w.thread ? " `" + w.thread + "`" : "") + (w.for_ms === null ? "" : ", " + age(w.for_ms + d));

const phase = (p) => {
  if (p.failed) return ["failed", "✕ Failed"];
  if (p.phase === "closing") return p.aborting ? ["aborting", "▲ Aborting"] : ["closing", "◐ Closing"];
  return p.phase === "closed" ? ["closed", "○ Closed"] : ["running", "● Running"];
};

const open = (s) => s.running + s.closing + s.aborting;

const badges = (s, d, closing) => {
  const list = [];
  if (lost) list.push(["lost", "⚠ Connection lost " + age(performance.now() - lost) + " ago"]);
  if (s.state === "running") list.push(["running", "● Running " + age(s.up_ms + d)]);
  if (s.state === "closing") list.push(["closing", "◐ Closing " + age(closing)]);
  if (s.state === "aborting") list.push(["aborting", "▲ Aborting " + age((s.aborting_ms || 0) + d) + " (closing " + age(closing) + ")"]);
  if (s.state === "closed") list.push(["closed", "○ Closed after " + age(closing)]);
  if (s.stalled && s.state !== "aborting") list.push(["stalled", "■ STALLED"]);
  return list;
};

const deadline = (s, d) => {
  if (s.state === "closing") {
    if (s.abort_in_ms !== null) return "grace ends in " + span(s.abort_in_ms - d) + ", then abort";
    return s.is_main ? "no deadline: send the signal again to abort" : "no deadline";
  }
  if (s.state === "aborting") return (s.grace_over ? "aborted by grace" : "aborted") + (s.exit_in_ms === null ? "" : " · exit in " + span(s.exit_in_ms - d) + " with code " + s.exit_code);
  return s.outcome || "";
};

const counts = (s) => {
  const kinds = [];
  if (s.running) kinds.push(count(s.running) + " running");
  if (s.closing) kinds.push(count(s.closing) + " closing");
  if (s.aborting) kinds.push(count(s.aborting) + " aborting");
  const parts = [count(open(s)) + " open" + (kinds.length && !(s.state === "running" && !s.closing) ? ": " + kinds.join(", ") : "")];
  if (s.state !== "running") parts.push(count(s.closed) + " closed");
  parts.push(count(s.failed) + " failed");
  if (s.state === "running") parts.push("last failure " + (frame.failures.length ? clock(frame.failures[0].at) : "–"));
  return parts.join(" · ");
};

const progress = (s, d) => {
  if (s.state !== "closing" && s.state !== "aborting") return "";
  if (s.closed_recently) return count(s.closed_recently) + " closed in the last second";
  return s.last_closed_ms === null ? "" : "nothing closed for " + age(s.last_closed_ms + d);
};
