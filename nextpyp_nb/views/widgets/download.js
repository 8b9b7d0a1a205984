// Hands files over to the person at the browser.
function render({ model, el }) {
  el.style.display = "none";
  function save({ name }, buffers) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([buffers[0]], { type: "application/octet-stream" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  model.on("msg:custom", save);
  return () => model.off("msg:custom", save);
}
export default { render };
