// A data grid draws on a hidden canvas and copies cell by cell to the one in sight, while it goes on drawing.
// Without a GPU each such copy costs milliseconds; all of them after the drawing cost as much as one.
const GRIDS = ".nb-app :is(.lm-DataGrid-viewport, .p-DataGrid-viewport)";
const context2d = CanvasRenderingContext2D.prototype;

function together() {
  const copy = context2d.drawImage, waiting = new Map();
  function flush(context) {
    const all = waiting.get(context) ?? [];
    waiting.delete(context);
    for (const one of all) copy.apply(context, one);
  }
  context2d.drawImage = function (image, ...places) {
    if (!this.canvas.closest(GRIDS)) return copy.call(this, image, ...places);
    // Scrolling copies the canvas onto itself: what waits comes first.
    if (!(image instanceof HTMLCanvasElement) || image.isConnected) {
      flush(this);
      return copy.call(this, image, ...places);
    }
    if (!waiting.has(this)) {
      waiting.set(this, []);
      queueMicrotask(() => flush(this));
    }
    waiting.get(this).push([image, ...places]);
  };
  context2d.drawImage.nbTogether = true;
}

function render({ el }) {
  el.style.display = "none";
  // Once a document, whatever number of apps it shows; other canvases than grids of ours are not touched.
  if (!context2d.drawImage.nbTogether) together();
}
export default { render };
