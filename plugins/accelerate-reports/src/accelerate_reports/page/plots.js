// SPDX-License-Identifier: Apache-2.0
"use strict";

// Beside the lines where there is room for them, else above each line.
function labels(width) {
  if (width > 700) return { step: 26, textDy: -9, axisY: { labelLimit: width * 0.4 } };
  return {
    step: 46,
    textDy: 13,
    axisY: { labelAlign: "left", labelPadding: 0, labelOffset: -17, labelLimit: width - 20 },
  };
}

// Panels are drawn one by one, so that as many stand side by side as there is room for.
async function drawPanels(place, spec, data, config) {
  place.replaceChildren();
  for (const panel of spec.concat) {
    const part = document.createElement("div");
    place.append(part);
    await draw(part, { ...panel, data: spec.data, width: "container" }, data, config);
  }
}

async function draw(place, spec, data, config) {
  place.classList.toggle("panels", Boolean(spec.concat));
  if (spec.concat) return drawPanels(place, spec, data, config);
  const width = place.clientWidth;
  const { step, textDy, axisY } = labels(width);
  // A plot of lines of its own height says so; the others grow with their labels.
  const height = spec.height ? {} : { height: step * new Set(data.map(({ label }) => label)).size };
  const columns = Math.max(2, Math.floor(width / 140));
  // Interpreting expressions, not compiling them, lets the page forbid eval.
  await vegaEmbed(place, { ...spec, ...height, datasets: { lines: data } }, {
    // A panel without a change has layers without data, which Vega warns of.
    ast: true, logLevel: spec.height ? 1 : 2, renderer: "svg", actions: false, defaultStyle: false,
    config: spec.height ? { ...config, legend: { ...config.legend, columns } } : {
      ...config, text: { dy: textDy }, axisY: { ...config.axisY, ...axisY }, legend: { ...config.legend, columns },
    },
    tooltip: { theme: "page", disableDefaultStyle: true },
  });
}

async function startPlot(figure, config, { data, views }) {
  const place = figure.querySelector(".plot");
  const buttons = [...figure.querySelectorAll(".views button")];
  const show = async (name) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.view === name));
    }
    await draw(place, views[name], data, config);
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.view));
  await show(figure.dataset.view);
  figure.dataset.state = "drawn";
}

const drawn = JSON.parse(document.getElementById("plots").textContent);
for (const figure of document.querySelectorAll("figure[data-plot]")) {
  startPlot(figure, drawn.config, drawn.figures[figure.dataset.plot]);
}
