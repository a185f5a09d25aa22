// Draws the figures of a page with Plotly, in the colours of the page. A point or a flow leads to the people behind it.

let loading = null;
export function plotly(address) {
  loading ??= new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: address });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("The charts could not be loaded."));
    document.head.append(script);
  });
  return loading;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Text, lines and hints as the page has them, light or dark.
function dressed(layout) {
  const [text, quiet, line, surface] = ["--text", "--quiet", "--line", "--surface"].map(colour);
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickfont: { color: quiet }, automargin: true };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: text };
  return {
    ...layout,
    font,
    xaxis: { ...axis, fixedrange: true, ...layout.xaxis },
    yaxis: { ...axis, fixedrange: true, ...layout.yaxis },
    hoverlabel: { ...layout.hoverlabel, bgcolor: surface, bordercolor: line, font },
  };
}

const options = { displayModeBar: false, responsive: true, scrollZoom: false };

async function draw(place) {
  const { data, layout } = JSON.parse(place.dataset.figure);
  const library = await plotly(place.dataset.plotly);
  const picture = document.createElement("div");
  place.replaceChildren(picture);
  await library.newPlot(picture, data, dressed(layout), options);
  picture.on("plotly_click", ({ points }) => {
    const which = points.map((point) => point.customdata).find(Boolean);
    if (which) location.assign(`${place.dataset.people}&${new URLSearchParams({ cell: which })}`);
  });
  place.dataset.drawn = "1";
}

export function drawCharts(root) {
  return Promise.all([...root.querySelectorAll(".chart[data-figure]")].map((place) =>
    draw(place).catch((error) => { place.textContent = error.message; })));
}

drawCharts(document);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts(document));
