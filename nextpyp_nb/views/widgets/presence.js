// anywidget lets a model hear nothing more that is not ready after two seconds: a busy browser takes longer.
const timeout = AbortSignal.timeout;
if (!timeout.nbPatient) {
  AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms === 2000 ? 60000 : ms);
  AbortSignal.timeout.nbPatient = true;
}
// Beats each second while the page is open; the kernel stops drawing when it hears nothing.
function render({ model, el }) {
  // What others' widgets leave without a name for those who hear the page.
  function name() {
    document.querySelectorAll(".nb-app .noUi-handle:not([aria-label])").forEach((handle) => {
      handle.setAttribute("aria-label", handle.closest(".jupyter-widgets")?.querySelector("label")?.textContent || "value");
    });
    document.querySelectorAll(".nb-app img:not([alt])").forEach((image) => { image.alt = "picture of a micrograph"; });
  }
  const beat = () => {
    name();
    model.set("beat", Date.now() / 1000);
    model.set("dark", document.body.dataset.jpThemeLight === "false");
    model.set("width", el.closest(".nb-app")?.clientWidth || 0);
    model.save_changes();
  };
  beat();
  const timer = setInterval(beat, 1000);
  el.style.display = "none";
  return () => clearInterval(timer);
}
export default { render };
