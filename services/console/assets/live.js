// Events as they come: rows are put on top, minutes are counted. Texts are put in as texts.
import { ask, showTimes } from "./base.js";

const MAX_ROWS = 200;
const MINUTES = 30;
const body = document.getElementById("events");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const notices = document.getElementById("notices");
const shown = new Set([...body.rows].map((row) => row.dataset.id));
const counts = new Map();
// The clock of who receives; this browser's may go otherwise.
const openedAt = Number(body.dataset.after) / 1000;
const ahead = openedAt - Date.now();
const opened = minuteOf(openedAt);
let receipts = [...body.rows].map(momentOf);
let waiting = [];
let total = 0;
let missed = 0;
let missedAt = 0;

function now() { return Date.now() + ahead; }
function minuteOf(moment) { return Math.floor(moment / 60000); }

function link(text, address, isPeek) {
  const made = Object.assign(document.createElement("a"), { textContent: text, href: address });
  if (isPeek) made.dataset.peek = "";
  return made;
}

function rowOf(event) {
  const row = document.createElement("tr");
  row.dataset.id = event.event_id;
  row.className = "new";
  const time = Object.assign(document.createElement("time"), { dateTime: event.received_at });
  const received = row.insertCell();
  received.className = "time";
  received.append(time);
  const name = Object.assign(document.createElement("th"), { scope: "row" });
  const at = new URLSearchParams({ id: event.event_id, timestamp: event.timestamp });
  name.append(link(event.event, `/console/event?${at}`, true));
  row.append(name);
  row.insertCell().append(link(event.person_id, `/console/person?${new URLSearchParams({ id: event.person_id })}`));
  const brief = row.insertCell();
  brief.className = "brief";
  const text = JSON.stringify(event.properties);
  brief.textContent = text.length > 160 ? `${text.slice(0, 159)}…` : text;
  showTimes(row);
  return row;
}

// Events come into sight in another order than they were received in, so that some are sent again, and some are from before
// the list that is there.
const first = body.rows.length >= Number(body.dataset.most) ? momentOf(body.rows[body.rows.length - 1]) : 0;

function momentOf(row) { return Date.parse(row.querySelector("time").dateTime); }

function put(row) {
  const moment = momentOf(row);
  body.insertBefore(row, [...body.rows].find((other) => momentOf(other) <= moment) ?? null);
}

function add(event) {
  if (shown.has(event.event_id) || Date.parse(event.received_at) < first) return;
  shown.add(event.event_id);
  const moment = Date.parse(event.received_at);
  receipts.push(moment);
  // What is sent again of before is in the list, and not counted.
  if (moment >= openedAt) {
    total += 1;
    counts.set(minuteOf(moment), (counts.get(minuteOf(moment)) ?? 0) + 1);
  }
  waiting.push(event);
  if (waiting.length > MAX_ROWS) waiting.shift();
  requestAnimationFrame(show);
}

function show() {
  const isPaused = pause.getAttribute("aria-pressed") === "true";
  pause.textContent = isPaused ? (waiting.length ? `Go on (${waiting.length} new)` : "Go on") : "Pause";
  if (isPaused || !waiting.length) return;
  document.getElementById("list").hidden = false;
  document.getElementById("nothing")?.remove();
  for (const event of waiting) put(rowOf(event));
  waiting = [];
  while (body.rows.length > MAX_ROWS) body.rows[body.rows.length - 1].remove();
}

function showMinutes() {
  const minute = minuteOf(now());
  const last = Array.from({ length: MINUTES }, (_, at) => counts.get(minute - MINUTES + 1 + at) ?? 0);
  const most = Math.max(...last, 1);
  const bars = last.map((count, at) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = count ? Math.max((count / most) * 40, 1) : 0;
    const place = { x: at * 10 + 1, y: 40 - height, width: 8, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value);
    if (minute - MINUTES + 1 + at < opened) bar.setAttribute("class", "before");
    return bar;
  });
  document.querySelector("#minutes svg").replaceChildren(...bars);
  receipts = receipts.filter((moment) => moment > now() - 60000);
  // Of what was received before the page was opened it has the newest alone.
  const isCut = Math.max(first, missedAt) > now() - 60000;
  document.getElementById("per-minute").textContent = `${isCut ? "more than " : ""}${receipts.length.toLocaleString("fr")}`;
  document.getElementById("in-all").textContent = `${missed ? "more than " : ""}${total.toLocaleString("fr")}`;
}

function say(kind, text) {
  const line = Object.assign(document.createElement("p"), { className: `notice ${kind}`, textContent: text });
  line.setAttribute("role", kind === "bad" ? "alert" : "status");
  notices.replaceChildren(line);
}

// A project has ten streams. Where none is free, the same is asked for every two seconds.
const EVERY_MS = 2000;
const EVERY = "Events show every two seconds.";
let last = body.dataset.after;
let stream = null;
let asking = null;

function address(end) {
  const made = new URL(body.dataset.stream + end, location.href);
  made.searchParams.set("after", last);
  return made;
}

function listen() {
  stream = new EventSource(address("/stream" + body.dataset.filter));
  stream.addEventListener("open", () => { state.textContent = "Events show as they come in."; });
  stream.addEventListener("event", (message) => {
    last = message.lastEventId;
    add(JSON.parse(message.data));
  });
  stream.addEventListener("gap", () => {
    missedAt = now();
    // At opening it is of what was received before.
    if (total) missed += 1;
  });
  stream.addEventListener("problem", askInstead);
  stream.addEventListener("error", () => { if (stream?.readyState === EventSource.CLOSED) askInstead(); });
}

function askInstead() {
  stop();
  state.textContent = EVERY;
  asking = setInterval(async () => {
    const answer = await ask(address("/since" + body.dataset.filter));
    if (!answer.ok) state.textContent = "The API does not answer now. This page goes on asking.";
    else {
      const isPart = answer.headers.has("x-partial");
      state.textContent = isPart ? "A part of the store did not answer: its events are missing here." : EVERY;
      for (const event of await answer.json()) add(event);
    }
  }, EVERY_MS);
}

function stop() {
  stream?.close();
  clearInterval(asking);
  stream = asking = null;
}

pause.hidden = false;
pause.onclick = () => {
  pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true"));
  show();
};
document.getElementById("test")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await ask(event.target.action, { method: "POST" });
  if (answer.ok) say("good", "Accepted. It shows here within three seconds.");
  else say("bad", "It was not accepted. Load the page again.");
});
document.getElementById("minutes").hidden = false;
document.querySelector("#state .no-script")?.remove();
showMinutes();
setInterval(showMinutes, 1000);
// Nobody looks at a page that is hidden: others may have its stream.
document.addEventListener("visibilitychange", () => { stop(); if (!document.hidden) listen(); });
addEventListener("pagehide", stop);
listen();
