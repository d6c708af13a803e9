/* Light or dark before first paint, so that a dark screen never flashes white. In <head>, not deferred. */
(function () {
  var dark = matchMedia("(prefers-color-scheme: dark)");
  function wanted() { try { return localStorage.getItem("theme"); } catch (error) { return null; } }
  function apply() { document.documentElement.dataset.bsTheme = wanted() || (dark.matches ? "dark" : "light"); }
  apply();
  dark.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    var choice = button.dataset.themeChoice;
    try { if (choice) localStorage.setItem("theme", choice); else localStorage.removeItem("theme"); } catch (error) { /* this page only */ }
    if (choice) document.documentElement.dataset.bsTheme = choice; else apply();
    mark();
  });
  function mark() {
    document.querySelectorAll("[data-theme-choice]").forEach(function (button) {
      var now; try { now = localStorage.getItem("theme") || ""; } catch (error) { now = ""; }
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === now));
    });
  }
  document.addEventListener("DOMContentLoaded", mark);
})();
