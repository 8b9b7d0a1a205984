// Beats each second while the page is open; the kernel stops drawing when it hears nothing.
function render({ model, el }) {
  const beat = () => {
    model.set("beat", Date.now() / 1000);
    model.set("dark", document.body.dataset.jpThemeLight === "false");
    model.save_changes();
  };
  beat();
  const timer = setInterval(beat, 1000);
  el.style.display = "none";
  return () => clearInterval(timer);
}
export default { render };
