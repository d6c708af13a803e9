/* Ticking rows: the box in the heading, x on the current row, Esc to clear, and z to undo. Nothing here is needed to work. */
(function () {
  function boxes(table) { return Array.from(table.querySelectorAll("tbody input[form=bulk-form]")); }
  function follow(table) {
    var head = table.querySelector("input[data-pick-all]"), own = boxes(table), on = own.filter(function (box) { return box.checked; }).length;
    if (!head) return;
    head.checked = own.length > 0 && on === own.length;
    head.indeterminate = on > 0 && on < own.length;
  }
  document.addEventListener("change", function (event) {
    var box = event.target, table = box.closest("table");
    if (!table || !table.querySelector("input[form=bulk-form]")) return;
    if (box.hasAttribute("data-pick-all")) boxes(table).forEach(function (own) { own.checked = box.checked; });
    follow(table);
  });
  document.addEventListener("reset", function (event) {
    if (event.target.id === "bulk-form") setTimeout(function () { document.querySelectorAll("table").forEach(follow); }, 0);
  });
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), textarea, select")) return;
    var form = document.getElementById("bulk-form"), row = document.querySelector("tr.cur") || event.target.closest("tr[data-row]");
    var letters = document.body.dataset.letterKeys !== "off";
    if (letters && event.key === "x" && row) {
      var box = row.querySelector("input[form=bulk-form]");
      if (box) box.click();
    } else if (event.key === "Escape" && form && document.querySelector("input[form=bulk-form]:checked") && !event.target.closest("details[open].menu, details[open].pick")) {
      form.reset();
    } else if (letters && event.key === "z") {
      var undo = document.querySelector("[data-undo]");
      if (undo) undo.click();
    }
  });
})();
