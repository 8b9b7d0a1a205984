// anywidget lets a model hear nothing more that is not ready after two seconds: a busy browser takes longer.
const timeout = AbortSignal.timeout;
if (!timeout.nbPatient) {
  AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms === 2000 ? 60000 : ms);
  AbortSignal.timeout.nbPatient = true;
}
// Beats each second while the page is open; the kernel stops drawing when it hears nothing.
function render({ model, el }) {
  let answered = 0;
  // What others' widgets leave without a name for those who hear the page.
  function name() {
    document.querySelectorAll(".nb-app .noUi-handle:not([aria-label])").forEach((handle) => {
      handle.setAttribute("aria-label", handle.closest(".jupyter-widgets")?.querySelector("label")?.textContent || "value");
    });
    document.querySelectorAll(".nb-app img:not([alt])").forEach((image) => { image.alt = "picture of a micrograph"; });
  }
  // A message each time, with all of it: of a model only changes are sent, and none after a lost answer.
  const beat = () => {
    name();
    model.send({
      beat: Date.now() / 1000,
      dark: document.body.dataset.jpThemeLight === "false",
      width: el.closest(".nb-app")?.clientWidth || 0,
      answered,
    });
  };
  // What the kernel asks is answered once a page is drawn and the browser has nothing to do.
  const whenQuiet = (act) => (window.requestIdleCallback ?? setTimeout)(act);
  function answer() {
    if (!el.closest(".nb-app")?.querySelector(".nb-pages > *")) { setTimeout(() => whenQuiet(answer), 100); return; }
    answered = model.get("asked");
    beat();
  }
  const asked = () => whenQuiet(answer);
  model.on("change:asked", asked);
  if (model.get("asked")) asked();
  beat();
  const timer = setInterval(beat, 1000);
  el.style.display = "none";
  return () => { clearInterval(timer); model.off("change:asked", asked); };
}
export default { render };
