// The tiles of a dashboard, side by side: each asks for itself, and says itself what went wrong.
import { ask } from "./base.js";
import "./confirm.js";
import "./days.js";

async function load(place) {
  try {
    const query = new URLSearchParams({ query: place.dataset.query });
    const answer = await ask(place.dataset.tile, { method: "POST", body: query });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const body = page.querySelector(".tile-body") ?? page.querySelector("[role=alert]");
    place.replaceChildren(...(body ? [...document.importNode(body, true).childNodes] : ["This tile did not load."]));
  } catch {
    place.textContent = "This tile did not load. Load the page again.";
  }
  place.dataset.loaded = "1";
}

for (const place of document.querySelectorAll("[data-tile]")) load(place);

// A menu closes when something else is pressed.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".tile-menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll(".tile-menu[open]")) menu.open = false;
});
