// Comfort on every page: times of this browser's zone, copying, keys, pages that open beside the page. All works without.

export const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

// Asks the console. A session that has ended leads to the sign-in, and back.
export async function ask(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { ...options.headers, "x-csrf-token": csrf } });
  if (answer.status === 401) {
    location.reload();
    await new Promise(() => {});
  }
  return answer;
}

const days = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });
const clock = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

function shown(moment) {
  const day = days.format(moment);
  return `${day === days.format(new Date()) ? "today" : day} ${clock.format(moment)}`;
}

export function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) {
      time.title = time.dateTime;
      time.textContent = shown(moment);
    }
  }
}

export function offerCopies(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.onclick = async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
  }
}

for (const button of document.querySelectorAll("button[data-copy-link]")) {
  button.hidden = false;
  button.onclick = async () => {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Link copied";
    setTimeout(() => { button.textContent = "Copy link"; }, 1500);
  };
}

// Empty fields stay out of the address.
function shortenAddress(event) {
  if (event.target.method !== "get") return;
  const empty = [...event.target.elements].filter((field) => field.name && field.value === "" && !field.disabled);
  for (const field of empty) field.disabled = true;
  setTimeout(() => { for (const field of empty) field.disabled = false; });
}

// A link with data-peek opens its page in a dialog: that part of it which has the id `peek`.
let dialog = null;
function dialogOfPage() {
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.className = "peek";
    document.body.append(dialog);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  return dialog;
}

export function openBeside(title, content) {
  const box = dialogOfPage();
  const close = Object.assign(document.createElement("button"), { type: "button", className: "plain close", textContent: "Close" });
  close.onclick = () => box.close();
  box.setAttribute("aria-label", title);
  box.replaceChildren(close, content);
  showTimes(box);
  offerCopies(box);
  if (!box.open) box.showModal();
}

async function peek(event) {
  const link = event.target.closest("a[data-peek]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const answer = await ask(link.href);
  const part = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("peek");
  if (part) openBeside(link.textContent, document.importNode(part, true));
  else location.assign(link.href);
}

// `/` searches, `g` and a letter goes to a page, `?` says so.
let afterG = false;
function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const place = afterG && document.querySelector(`[data-go-key="${CSS.escape(event.key)}"]`);
  afterG = event.key === "g" && !afterG;
  if (place) location.assign(place.href);
  else if (event.key === "?") showKeys();
  else {
    const field = document.querySelector(`[data-focus-key="${CSS.escape(event.key)}"]`);
    if (!field) return;
    field.focus();
  }
  event.preventDefault();
}

// A button that is pressed twice would change something twice: the page that comes of it is on its way.
const TWICE_MS = 2000;

function once(event) {
  const form = event.target, now = Date.now();
  if (form.method !== "post") return;
  if (now - Number(form.dataset.sent ?? 0) < TWICE_MS) event.preventDefault();
  // Others may have a say in it after this.
  else setTimeout(() => event.defaultPrevented || (form.dataset.sent = now));
}

function showKeys() {
  const list = document.createElement("div");
  const heading = Object.assign(document.createElement("h2"), { textContent: "Keys" });
  const rows = [["/", "search for a person"], ["?", "this list"], ["Esc", "close"]];
  for (const link of document.querySelectorAll("[data-go-key]")) rows.push([`g ${link.dataset.goKey}`, link.textContent]);
  const table = document.createElement("table");
  for (const [key, does] of rows) {
    const row = table.insertRow();
    row.insertCell().append(Object.assign(document.createElement("kbd"), { textContent: key }));
    row.insertCell().textContent = does;
  }
  list.append(heading, table);
  openBeside("Keys", list);
}

// On a phone the menu is one line that scrolls.
document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
showTimes(document);
offerCopies(document);
document.addEventListener("submit", shortenAddress);
document.addEventListener("submit", once);
document.addEventListener("click", peek);
document.addEventListener("keydown", keys);
