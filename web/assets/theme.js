// Before the first paint: the theme that was chosen here, if any. Storage may be forbidden; then the system decides.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("pond-theme"); } catch { /* no storage, no choice */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  document.documentElement.classList.add("js");
})();
