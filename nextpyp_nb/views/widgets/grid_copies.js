// A data grid draws on a hidden canvas and copies cell by cell to the one in sight, while it goes on drawing.
// Without a GPU each such copy costs milliseconds; all of them after the drawing cost as much as one.
const CANVASES = ".lm-DataGrid-viewport canvas, .p-DataGrid-viewport canvas";

function together(canvas) {
  const context = canvas.getContext("2d"), copy = context.drawImage;
  let waiting = [];
  const flush = () => {
    const all = waiting;
    waiting = [];
    for (const one of all) copy.apply(context, one);
  };
  context.drawImage = function (image, ...places) {
    // Scrolling copies the canvas onto itself: what waits comes first.
    if (!(image instanceof HTMLCanvasElement) || image.isConnected) {
      flush();
      return copy.call(context, image, ...places);
    }
    if (!waiting.length) queueMicrotask(flush);
    waiting.push([image, ...places]);
  };
}

function render({ el }) {
  el.style.display = "none";
  const known = new WeakSet();
  let page = null;
  const look = () => page?.querySelectorAll(CANVASES).forEach((canvas) => {
    if (known.has(canvas)) return;
    known.add(canvas);
    together(canvas);
  });
  const watcher = new MutationObserver(look);
  // Our place on the page comes after us.
  const timer = setInterval(() => {
    if (!el.isConnected) return;
    clearInterval(timer);
    page = el.closest(".nb-table") ?? el.parentElement;
    watcher.observe(page, { childList: true, subtree: true });
    look();
  }, 50);
  return () => { clearInterval(timer); watcher.disconnect(); };
}
export default { render };
