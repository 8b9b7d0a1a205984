// Voilà's application is loaded here while the notebook runs; it goes on once the page is whole.
(() => {
  const whole = () => new Promise((done) => {
    if (document.readyState !== "loading") done();
    else document.addEventListener("DOMContentLoaded", done, { once: true });
  });
  (window._JUPYTERLAB ??= {})["nextpyp-page"] = {
    init: () => {},
    // Voilà waits for all extensions. To connect earlier would not do: widgets come while others are missing.
    get: async () => {
      await whole();
      // The page has named its kernel meanwhile, in a second configuration.
      const [early, late] = document.querySelectorAll("#jupyter-config-data");
      document.body.dataset.kernelId = JSON.parse(late.text).kernelId;
      early.remove();
      return () => ({ id: "nextpyp-page:whole", autoStart: true, activate: () => {} });
    },
  };
})();
