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
  // What the kernel asks is answered once a page is drawn and the browser has nothing to do.
  const whenQuiet = (act) => (window.requestIdleCallback ?? setTimeout)(act);
  function answer() {
    if (!el.closest(".nb-app")?.querySelector(".nb-pages > *")) { setTimeout(() => whenQuiet(answer), 100); return; }
    model.set("answered", model.get("asked"));
    model.save_changes();
  }
  const asked = () => whenQuiet(answer);
  model.on("change:asked", asked);
  if (model.get("asked") !== model.get("answered")) asked();
  beat();
  const timer = setInterval(beat, 1000);
  el.style.display = "none";
  return () => { clearInterval(timer); model.off("change:asked", asked); };
}
export default { render };
