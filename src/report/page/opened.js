// A dialog with what the heads of a run read in its held-out text. It is made when it is first opened.
const openPatterns = (() => {
  let parts = null, shown = null;

  function make() {
    const dialog = element("dialog", undefined, { class: "opened", "aria-labelledby": "opened-title" });
    const title = element("h2", "", { id: "opened-title" });
    const steps = element("select");
    const label = element("label", "After step ");
    label.append(steps);
    const close = element("button", "Close", { type: "button" });
    const bar = element("div", undefined, { class: "controls" });
    bar.append(label, close);
    const place = element("div");
    dialog.append(title, bar, place);
    document.body.append(dialog);
    close.addEventListener("click", () => dialog.close());
    // A click beside the dialog closes it.
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    steps.addEventListener("change", () => show(shown.choose.head()));
    return { dialog, title, steps, place };
  }

  function show(head) {
    shown.choose = showPatterns(parts.place, shown.run.patterns[Number(parts.steps.value)].of);
    shown.choose(head, false);
  }

  // Opens the dialog at a head, with the newest checkpoint up to `step`, else the first. Returns whether there is anything to show.
  return (run, head, step) => {
    if (run.patterns.length === 0) return false;
    parts = parts || make();
    shown = { run };
    parts.title.textContent = `What the heads of ${run.name} read`;
    parts.steps.replaceChildren(...run.patterns.map((of, index) => element("option", thousands(of.step), { value: index })));
    let at = run.patterns.length - 1;
    while (at > 0 && run.patterns[at].step > step) at -= 1;
    parts.steps.value = String(at);
    parts.steps.disabled = run.patterns.length < 2;
    parts.dialog.showModal();
    show(head);
    return true;
  };
})();
