// A data grid draws on a hidden canvas and copies cell by cell to the one in sight, while it goes on drawing.
// Without a GPU each such copy costs milliseconds; all of a column or region together cost as much as one.
const GRIDS = ".nb-app :is(.lm-DataGrid-viewport, .p-DataGrid-viewport)";
const DRAWS = ["fill", "stroke", "fillRect", "strokeRect", "clearRect", "fillText", "strokeText", "putImageData"];
const context2d = CanvasRenderingContext2D.prototype;

function together() {
  const copy = context2d.drawImage, guarded = new WeakSet();
  let waiting = [];
  function flush() {
    const all = waiting;
    waiting = [];
    for (const [context, transform, ...one] of all) {
      context.save();
      context.setTransform(transform);
      copy.apply(context, one);
      context.restore();
    }
  }
  // What waits comes before the canvas gets another size, which empties it.
  function guardSize(canvas) {
    if (guarded.has(canvas)) return;
    guarded.add(canvas);
    for (const side of ["width", "height"]) {
      const { get, set } = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, side);
      Object.defineProperty(canvas, side, {
        configurable: true,
        get() { return get.call(this); },
        set(pixels) { flush(); set.call(this, pixels); },
      });
    }
  }
  // And before anything that is drawn straight on the canvas in sight, such as lines between cells.
  function guardDraws(context) {
    if (guarded.has(context)) return;
    guarded.add(context);
    for (const name of DRAWS) {
      context[name] = function (...all) { flush(); return context2d[name].apply(this, all); };
    }
  }
  context2d.drawImage = function (image, ...places) {
    const hidden = image instanceof HTMLCanvasElement && !image.isConnected;
    if (!hidden || !this.canvas.closest(GRIDS)) {
      // Scrolling and resizing copy from the canvas in sight.
      flush();
      return copy.call(this, image, ...places);
    }
    guardSize(image);
    guardSize(this.canvas);
    guardDraws(this);
    if (!waiting.length) queueMicrotask(flush);
    waiting.push([this, this.getTransform(), image, ...places]);
  };
  context2d.drawImage.nbTogether = true;
}

function render({ el }) {
  el.style.display = "none";
  // Once a document, whatever number of apps it shows; other canvases than grids of ours are not touched.
  if (!context2d.drawImage.nbTogether) together();
}
export default { render };
