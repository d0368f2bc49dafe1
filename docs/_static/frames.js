// Frames with a page of the explorer: as high as the page, in the theme of the site. Plots that have none get
// a box that can scroll.
(() => {
  const frames = () => [...document.querySelectorAll("figure.explorer iframe")];
  const theme = () => ({ fastsgdTheme: document.documentElement.dataset.theme === "dark" ? "dark" : "light" });
  window.addEventListener("message", (event) => {
    const frame = frames().find((one) => one.contentWindow === event.source);
    const height = Number(event.data && event.data.fastsgdHeight);
    if (!frame || !(height > 0)) return;
    frame.style.height = `${Math.min(height + 4, 4000)}px`;
    event.source.postMessage(theme(), "*");
  });
  new MutationObserver(() => frames().forEach((one) => one.contentWindow.postMessage(theme(), "*")))
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  document.addEventListener("DOMContentLoaded", () => {
    for (const plot of document.querySelectorAll(".bd-article img.sphx-glr-single-img, .bd-article section > img")) {
      const box = Object.assign(document.createElement("div"), { className: "plot" });
      plot.replaceWith(box);
      box.append(plot);
    }
  });
})();
