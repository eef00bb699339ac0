// The data of the page, and which runs are shown.
document.documentElement.classList.add("scripted");
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
// Of the palette's colours the only one that a dark page swallows.
const BLACK = "#000000";
const picked = () => data.runs.filter((run) => run.picked);
const thousands = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

// The least and the largest of numbers, however many; what is null has no say.
function ends(numbers) {
  let low = Infinity, high = -Infinity;
  for (const number of numbers) if (number !== null) { low = Math.min(low, number); high = Math.max(high, number); }
  return [low, high];
}

// An element with text in it; text that comes from files is never read as HTML.
function element(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}

// Check boxes for the runs; `changed` is called when others are chosen.
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
