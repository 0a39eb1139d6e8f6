// SPDX-License-Identifier: Apache-2.0
"use strict";

const CONFIG = {
  background: "transparent",
  font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", titleFontWeight: "normal",
    gridColor: "var(--line)", domain: false, ticks: false, labelPadding: 8, labelFontSize: 12,
  },
  axisY: { grid: false, labelColor: "var(--text)" },
  legend: {
    orient: "top", labelColor: "var(--text)", labelFontSize: 12, symbolType: "circle",
    symbolOpacity: 1, symbolStrokeWidth: 0,
  },
};

// Beside the lines where there is room for them, else above each line.
function labels(width) {
  if (width > 700) return { step: 26, textDy: -9, axisY: { labelLimit: width * 0.4 } };
  return {
    step: 46,
    textDy: 13,
    axisY: { labelAlign: "left", labelPadding: 0, labelOffset: -17, labelLimit: width - 20 },
  };
}

async function draw(place, spec, data) {
  const width = place.clientWidth;
  const { step, textDy, axisY } = labels(width);
  const height = step * new Set(data.map(({ label }) => label)).size;
  const columns = Math.max(2, Math.floor(width / 140));
  // Interpreting expressions, not compiling them, lets the page forbid eval.
  await vegaEmbed(place, { ...spec, height, datasets: { lines: data } }, {
    ast: true, renderer: "svg", actions: false, defaultStyle: false,
    config: {
      ...CONFIG, text: { dy: textDy }, axisY: { ...CONFIG.axisY, ...axisY }, legend: { ...CONFIG.legend, columns },
    },
    tooltip: { theme: "page", disableDefaultStyle: true },
  });
}

async function startPlot(figure, { data, views }) {
  const place = figure.querySelector(".plot");
  const buttons = [...figure.querySelectorAll(".views button")];
  const show = async (name) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.view === name));
    }
    await draw(place, views[name], data);
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.view));
  await show(figure.dataset.view);
  figure.dataset.state = "drawn";
}

function startTable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, index) => row.cells[index].dataset.value;
  for (const [index, head] of heads.entries()) {
    head.querySelector("button").addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const isNumber = head.classList.contains("number");
      const rows = [...body.rows].sort((left, right) => {
        const a = key(left, index), b = key(right, index);
        // Unknown values stay at the end whichever way the rest is sorted.
        if (a === "" || b === "") return (a === "") - (b === "");
        return direction * (isNumber ? Number(a) - Number(b) : a.localeCompare(b));
      });
      body.append(...rows);
    });
  }
}

function startFilter(input, table) {
  input.hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

const table = document.querySelector("table.results");
if (table) {
  startTable(table);
  startFilter(document.querySelector("input.filter"), table);
}
const plots = JSON.parse(document.getElementById("plots").textContent);
for (const figure of document.querySelectorAll("figure[data-plot]")) {
  startPlot(figure, plots[figure.dataset.plot]);
}
