// What a line's picture says where it is pointed at. A click leads to the people behind the nearest point.

const WIDE = 10000, HIGH = 1000;
const SVG = "http://www.w3.org/2000/svg";
const known = new WeakMap();

function hintsOf(chart) {
  if (!known.has(chart)) known.set(chart, JSON.parse(chart.dataset.hints));
  return known.get(chart);
}

// As numbers are written elsewhere on the page.
function text(value) {
  if (value === null) return "–";
  const digits = Number.isInteger(value) || Math.abs(value) >= 10000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 };
  return value.toLocaleString("en", digits).replaceAll(",", "\u202f");
}

// The period, and the line, that a pointer is nearest to.
function nearest(plot, event) {
  const said = hintsOf(plot.closest(".chart"));
  const box = plot.getBoundingClientRect();
  const last = said.labels.length - 1;
  const at = Math.max(0, Math.min(last, Math.round(((event.clientX - box.left) / box.width) * last)));
  const value = said.high - ((event.clientY - box.top) / box.height) * (said.high - said.low);
  const far = ({ values }) => (values[at] === null ? Infinity : Math.abs(values[at] - value));
  const line = said.lines.reduce((best, one, place) => (far(one) < far(said.lines[best]) ? place : best), 0);
  return { said, at, line, box };
}

function row(plot, said, place, at, isNearest) {
  const { name, values, before } = said.lines[place];
  const made = document.createElement("tr");
  const swatch = document.createElementNS(SVG, "svg");
  swatch.setAttribute("class", `swatch k${place % 10}`);
  swatch.append(document.createElementNS(SVG, "rect"));
  made.insertCell().append(swatch);
  made.insertCell().textContent = name;
  made.insertCell().textContent = text(values[at]) + (values[at] === null ? "" : said.unit ?? "");
  if (before) made.insertCell().textContent = `before ${text(before[at] ?? null)}`;
  if (isNearest) made.className = "nearest";
  return made;
}

function show(plot, event) {
  const { said, at, line, box } = nearest(plot, event);
  const chart = plot.closest(".chart");
  const hint = chart.querySelector(".tip") ?? chart.appendChild(Object.assign(document.createElement("div"), { className: "tip" }));
  const heading = document.createElement("b");
  heading.textContent = said.labels[at] + (at >= said.ended ? ", not ended" : "");
  const table = document.createElement("table");
  const shown = said.together ? said.lines.keys() : [line];
  for (const place of shown) table.append(row(plot, said, place, at, place === line));
  hint.replaceChildren(heading, table);
  const part = said.labels.length > 1 ? at / (said.labels.length - 1) : 0;
  const x = box.left - chart.getBoundingClientRect().left + part * box.width;
  hint.style.left = part < 0.5 ? `${x + 12}px` : "auto";
  hint.style.right = part < 0.5 ? "auto" : `${chart.clientWidth - x + 12}px`;
  const place = Math.round(part * WIDE), value = said.lines[line].values[at];
  plot.querySelector(".guide").setAttribute("d", `M${place} 0V${HIGH}`);
  const dot = plot.querySelector(".at");
  dot.setAttribute("class", `at k${line % 10}`);
  dot.setAttribute("d", value === null ? "" : `M${place} ${Math.round((HIGH * (said.high - value)) / (said.high - said.low))}h0`);
}

function hide(chart) {
  chart.querySelector(".tip")?.remove();
  for (const mark of chart.querySelectorAll(".guide, .at")) mark.removeAttribute("d");
}

let shownAt = null;
function point(event) {
  const plot = event.target.closest?.(".plot") ?? null;
  if (shownAt && shownAt !== plot) hide(shownAt.closest(".chart"));
  shownAt = plot;
  if (plot) show(plot, event);
}

function follow(event) {
  const plot = event.target.closest?.(".plot");
  // A finger points; the numbers of the table lead on.
  if (!plot || event.pointerType === "touch") return;
  const { said, at, line } = nearest(plot, event);
  // A curve of shares has no cells: nobody can be named.
  if (!said.lines[line].values[at] || said.lines[line].cell === undefined) return;
  const cell = new URLSearchParams(said.lines[line].cell);
  cell.set("b", at);
  cell.set("t", said.labels[at]);
  location.assign(`${plot.closest(".chart").dataset.people}&${new URLSearchParams({ cell })}`);
}

document.addEventListener("pointermove", point);
document.addEventListener("pointerdown", point);
document.addEventListener("click", follow);
