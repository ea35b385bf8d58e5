// The tokens as a table that sorts: the same facts as the shaded text, without colour.

import { figure, signed } from "./words.js";

const COLUMNS = [
  { name: "No.", of: (token, at) => at + 1 },
  { name: "Token", of: (token) => token.text },
  { name: "Weight", of: (token) => token.weight, show: figure },
  { name: "Contribution", of: (token) => token.contribution, show: (value) => signed(value, 3) },
  { name: "Known", of: (token) => (token.known ? "yes" : "no") },
];

/** Draw a table of `tokens` into `root`, sorted by the column of that name. */
export function drawTable(root, tokens, { by = "No.", descending = false } = {}) {
  const contributions = tokens.some(({ contribution }) => contribution !== null);
  const columns = COLUMNS.filter(({ name }) => contributions || name !== "Contribution");
  const sorting = columns.find(({ name }) => name === by) ?? columns[0];
  const rows = tokens.map((token, at) => columns.map((column) => column.of(token, at)));
  const key = columns.indexOf(sorting);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  rows.sort((a, b) => (descending ? -1 : 1) * compare(a[key], b[key]));

  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = head.appendChild(document.createElement("th"));
    cell.scope = "col";
    cell.setAttribute("aria-sort", column !== sorting ? "none" : descending ? "descending" : "ascending");
    const button = cell.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = column.name;
    button.addEventListener("click", () => {
      const first = column.show !== undefined; // numbers: the largest first
      drawTable(root, tokens, { by: column.name, descending: column === sorting ? !descending : first });
      [...root.querySelectorAll("th button")].find((each) => each.textContent === column.name).focus();
    });
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, at) => {
      const cell = line.insertCell();
      cell.textContent = columns[at].show?.(value) ?? value;
      if (typeof value === "number") cell.className = "number";
      else if (columns[at].name === "Token") cell.dir = "auto";
    });
  }
  root.replaceChildren(table);
}
