// Keys pressed on the page this lies on, unless somebody types.
// In a notebook they are the page's after a click into it: there x would cut the cell, and r make it raw.
function render({ model, el }) {
  el.style.display = "none";
  const alone = Boolean(document.body.dataset.voila);
  let ours = alone;
  function point(event) {
    ours = alone || Boolean(el.closest(".nb-app")?.contains(event.target));
  }
  function press(event) {
    if (!ours || event.ctrlKey || event.metaKey || event.altKey || !model.get("pressable").includes(event.key)) return;
    const page = el.parentElement, typing = event.target.closest?.("input, select, textarea, .jp-Editor, .cm-editor");
    if (typing || !page || page.closest(".nb-hidden") || !page.offsetParent || !page.clientHeight) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    model.send({ key: event.key });
  }
  // Before the commands of JupyterLab, which listen at the document.
  window.addEventListener("pointerdown", point, true);
  window.addEventListener("keydown", press, true);
  return () => {
    window.removeEventListener("pointerdown", point, true);
    window.removeEventListener("keydown", press, true);
  };
}
export default { render };
