// The data of the page, and which runs are shown.
document.documentElement.classList.add("scripted");
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
// The only colour of the palette that is invisible on a dark page.
const BLACK = "#000000";
const picked = () => data.runs.filter((run) => run.picked);
const thousands = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

// The smallest and the largest of any number of numbers; nulls are ignored.
function ends(numbers) {
  let low = Infinity, high = -Infinity;
  for (const number of numbers) if (number !== null) { low = Math.min(low, number); high = Math.max(high, number); }
  return [low, high];
}

// An element that contains text; text from files is never parsed as HTML.
function element(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}

// Checkboxes for the runs; `changed` is called when the selection changes.
function offerRuns(changed) {
  const boxes = data.runs.map((run) => {
    const box = element("input", undefined, { type: "checkbox" });
    box.checked = run.picked;
    box.addEventListener("change", () => { run.picked = box.checked; changed(); });
    const swatch = element("span", undefined, { class: run.dash ? "swatch dash" : "swatch", "aria-hidden": "true" });
    swatch.style.borderTopColor = run.color === BLACK ? "currentColor" : run.color;
    const label = element("label");
    label.append(box, swatch, element("span", run.name));
    if (run.diverged !== null) label.append(element("span", `diverged at step ${thousands(run.diverged)}`, { class: "note" }));
    byId("picks").append(label);
    return box;
  });
  const all = (picked) => () => {
    data.runs.forEach((run, index) => { run.picked = picked; boxes[index].checked = picked; });
    changed();
  };
  byId("pick-all").addEventListener("click", all(true));
  byId("pick-none").addEventListener("click", all(false));
}
