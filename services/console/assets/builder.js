// Comfort of the builders: rows without loading the page, suggestions, the browser's time zone. All works without.
import { ask } from "./base.js";
import "./confirm.js";
import "./days.js";
import { zone } from "./zone.js";

const form = () => document.getElementById("builder");

// Before anything is asked days are those of this browser. An answer says whose they are in its address.
function fillZone() {
  const field = form()?.elements.tz;
  if (!field) return;
  const list = document.getElementById("zones");
  if (!list.childElementCount && Intl.supportedValuesOf) fill(list, Intl.supportedValuesOf("timeZone"));
  if (!field.value && !document.getElementById("result")) field.value = zone;
}

function fill(list, values) {
  list.replaceChildren(...values.map((value) => Object.assign(document.createElement("option"), { value })));
}

// A button that changes the form: the page's own answer to it, without the page.
let changing = false;
async function change(event) {
  const button = event.submitter;
  if (event.target !== form() || button?.name !== "do") return;
  event.preventDefault();
  if (changing) return;
  changing = true;
  try {
    const said = new URLSearchParams(new FormData(event.target, button));
    const answer = await ask(`${event.target.action}?${said}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = new Set([...event.target.elements].map((field) => field.id));
    event.target.replaceWith(document.importNode(page.getElementById("builder"), true));
    const isNew = (field) => field.id && !before.has(field.id) && field.matches("input, select");
    ([...form().elements].find(isNew) ?? form().querySelector("input:not([type=hidden])"))?.focus();
  } finally {
    changing = false;
  }
}

// Suggestions: properties of the events that are chosen nearby, values of the property of the row.
const known = new Map();
async function suggestions(of, events, key = "", q = "") {
  const query = new URLSearchParams([["of", of], ["key", key], ["q", q], ...events.map((event) => ["event", event])]);
  if (!known.has(`${query}`)) {
    try {
      const answer = await ask(`${location.pathname.split("/").slice(0, 2).join("/")}/suggest?${query}`);
      if (answer.ok) known.set(`${query}`, await answer.json());
    } catch { /* Nobody answers, or the page is left: a name can be typed without. The next time it is asked again. */ }
  }
  return known.get(`${query}`) ?? [];
}

function eventsNear(field) {
  const near = field.closest(".series, .rule") ?? form();
  const found = [...near.querySelectorAll('input[list="events"]'), ...form().querySelectorAll('input[list="events"]')];
  return [...new Set(found.map((one) => one.value.trim()).filter((name) => name && name !== "*"))].slice(0, 1);
}

async function suggest(field) {
  const list = field.getAttribute("list");
  if (list === "keys") {
    fill(document.getElementById(list), await suggestions("keys", eventsNear(field)));
  } else if (list === "values") {
    const key = field.closest(".filter").querySelector('input[list="keys"]').value.trim();
    fill(document.getElementById(list), key ? await suggestions("values", eventsNear(field), key) : []);
  }
}

let waiting = 0;
function typed(event) {
  if (event.target.getAttribute("list") !== "events") return;
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const text = event.target.value.trim();
    // The list of the page has the most frequent ones; an event that is rarer is looked for.
    const there = [...document.getElementById("events").options].some((one) => one.value.includes(text));
    if (text.length > 1 && !there) fill(document.getElementById("events"), await suggestions("events", [], "", text));
  }, 200);
}

// A new dashboard needs a name; one that is there has it.
function needsName() {
  const field = document.getElementById("to-dashboard");
  if (field) field.form.elements.name.required = !field.value;
}

// First of all: blank rows must still be in the form.
document.addEventListener("submit", change, true);
document.addEventListener("focusin", (event) => { if (form()?.contains(event.target)) suggest(event.target); });
document.addEventListener("input", typed);
document.getElementById("to-dashboard")?.addEventListener("change", needsName);
needsName();
fillZone();
