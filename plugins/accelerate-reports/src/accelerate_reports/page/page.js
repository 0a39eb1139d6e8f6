// SPDX-License-Identifier: Apache-2.0
"use strict";

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
