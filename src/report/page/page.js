// Saves files, sorts the table, and draws everything: at the start, when other runs are chosen, and when the colour scheme
// changes.
for (const button of document.querySelectorAll("[data-file]")) {
  button.addEventListener("click", () => saveBlob(button.dataset.file, new Blob([button.dataset.text], { type: "text/plain;charset=utf-8" })));
}
for (const button of document.querySelectorAll("[data-figure]")) {
  button.addEventListener("click", () => {
    const { figure, kind } = button.dataset, name = `${figure}.${kind}`;
    const picture = document.querySelector(`#figure-${figure} img`);
    if (kind === "svg") {
      save(name, picture.src);
      return;
    }
    const canvas = element("canvas", undefined, { width: 2 * picture.getAttribute("width"), height: 2 * picture.getAttribute("height") });
    // A picture that has not been scrolled to is not loaded yet.
    const whole = new Image();
    whole.addEventListener("load", () => {
      canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => saveBlob(name, blob), "image/png");
    });
    whole.src = picture.src;
  });
}
// A click on a column's name sorts by it, the next one the other way round; empty cells stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows], numeric = rows.some((row) => row.cells[column].dataset.value !== undefined);
    const compare = (one, other) => {
      const [a, b] = [key(one, column), key(other, column)];
      if (numeric && (a === "" || b === "" || Number.isNaN(Number(a)) || Number.isNaN(Number(b)))) {
        return (a === "" || Number.isNaN(Number(a))) - (b === "" || Number.isNaN(Number(b)));
      }
      return (down ? -1 : 1) * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
    };
    body.append(...rows.sort(compare));
  }));
}
// Print shows one configuration in full; the table above it shows where the others differ.
window.addEventListener("beforeprint", () => { const whole = document.querySelector("details"); if (whole) whole.open = true; });

function showAll() {
  showHeatmaps();
  showCurves();
}
const kept = recall();
offerRuns(showAll);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showAll);
// From here on the page responds. Heatmaps and curves are further down and are drawn after the first paint.
document.documentElement.dataset.ready = String(Math.round(performance.now()));
setTimeout(() => {
  showHeatmaps();
  setTimeout(() => {
    showCurves();
    if (kept) window.scrollTo(0, kept.scroll);
    document.documentElement.dataset.drawn = String(Math.round(performance.now()));
  });
});
follow();
