// Keys pressed on the page this lies on, unless somebody types.
function render({ model, el }) {
  el.style.display = "none";
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !model.get("pressable").includes(event.key)) return;
    const page = el.parentElement, typing = event.target.closest?.("input, select, textarea, .jp-Editor, .cm-editor");
    if (typing || !page || page.closest(".nb-hidden") || !page.offsetParent || !page.clientHeight) return;
    model.send({ key: event.key });
  }
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}
export default { render };
