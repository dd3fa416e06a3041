"use strict";
// The index sorts by a click on a heading and filters as one types. Without JavaScript it is a plain table.
(() => {
  const table = document.getElementById("papers");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].innerText.replace(/[✓✗?⚠]/g, "").trim();

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => sign * a.localeCompare(b, "en", { numeric: true }));
    body.append(...rows.map(([, row]) => row));
  }));

  const query = document.getElementById("query");
  const family = document.getElementById("family");
  const boxes = [...document.querySelectorAll("input[name=label]")];
  const shown = document.getElementById("shown");

  function filter() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const labels = boxes.filter((box) => box.checked).map((box) => box.value);
    let n = 0;
    for (const row of body.rows) {
      const has = row.dataset.labels.split(";");
      const visible = words.every((word) => row.dataset.text.includes(word))
        && (!family.value || row.dataset.family === family.value)
        && (!labels.length || labels.some((label) => has.includes(label)));
      row.hidden = !visible;
      n += visible;
    }
    shown.textContent = n === 1 ? "1 paper" : `${n} papers`;
  }
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("filters").addEventListener("input", filter);
  filter();
})();
