// Saves files, and draws everything: at the start, when other runs are chosen, and when the colour scheme changes.
function save(name, address) {
  const link = element("a", undefined, { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
for (const button of document.querySelectorAll("[data-file]")) {
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([button.dataset.text], { type: "text/plain;charset=utf-8" }));
    save(button.dataset.file, address);
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
}
for (const button of document.querySelectorAll("[data-figure]")) {
  button.addEventListener("click", () => {
    save(`${button.dataset.figure}.svg`, document.querySelector(`#figure-${button.dataset.figure} img`).src);
  });
}
// Print shows one configuration in full; the table above it shows where the others differ.
window.addEventListener("beforeprint", () => { const whole = document.querySelector("details"); if (whole) whole.open = true; });

function showAll() {
  showHeatmaps();
  showCurves();
}
offerRuns(showAll);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showAll);
// From here on the page responds. Heatmaps and curves are further down and are drawn after the first paint.
document.documentElement.dataset.ready = String(Math.round(performance.now()));
setTimeout(() => {
  showHeatmaps();
  setTimeout(() => {
    showCurves();
    document.documentElement.dataset.drawn = String(Math.round(performance.now()));
  });
});
