// A page that `normfree report --serve` gives is loaded again when a log has changed; what the reader chose is kept.
const CHOICES = ["curve", "curve-log", "curve-raw", "curve-band", "quantity", "show"];

// Takes over what was chosen before the page was loaded again.
function recall() {
  const text = data.live ? sessionStorage.getItem("chosen") : null;
  if (text === null) return null;
  sessionStorage.removeItem("chosen");
  const kept = JSON.parse(text);
  for (const run of data.runs) if (run.name in kept.picked) run.picked = kept.picked[run.name];
  for (const [id, value] of Object.entries(kept.choices)) {
    const control = byId(id);
    if (control.type === "checkbox") control.checked = value;
    else if ([...control.options].some((option) => option.value === value)) control.value = value;
  }
  return kept;
}

function follow() {
  if (!data.live) return;
  const note = byId("live");
  const look = async () => {
    let state = data.live;
    try {
      state = await (await fetch("state", { cache: "no-store" })).text();
      note.textContent = "Live: this page is loaded again when a run writes to its log.";
    } catch {
      note.textContent = "The program that gives this page has ended; what is shown is its last state.";
    }
    if (state === data.live) {
      setTimeout(look, 3000);
      return;
    }
    const choices = Object.fromEntries(CHOICES.map((id) => [id, byId(id).type === "checkbox" ? byId(id).checked : byId(id).value]));
    const picked = Object.fromEntries(data.runs.map((run) => [run.name, run.picked]));
    sessionStorage.setItem("chosen", JSON.stringify({ choices, picked, scroll: window.scrollY }));
    location.reload();
  };
  setTimeout(look, 3000);
}
