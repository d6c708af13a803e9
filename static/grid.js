/* Keys for the grid of rules: move, paste cells, fill down, undo. The form works without it. */
(function () {
  var form = document.getElementById("grid");
  if (!form) return;
  var body = form.querySelector("tbody"), past = [];
  document.getElementById("keys").hidden = false;
  function rows() { return Array.from(body.rows); }
  function cellAt(row, column) { return row && row.querySelector('input.cell[data-col="' + column + '"]'); }
  function mark(input) { input.parentElement.classList.toggle("draft", input.value !== input.dataset.was); }
  function put(changes) {
    var before = [];
    changes.forEach(function (change) {
      if (!change[0] || change[0].value === change[1]) return;
      before.push([change[0], change[0].value]);
      change[0].value = change[1];
      change[0].dataset.now = change[1];
      mark(change[0]);
    });
    if (before.length) past.push(before);
  }
  function undo() {
    var last = past.pop();
    if (!last) return;
    last.forEach(function (change) { change[0].value = change[1]; change[0].dataset.now = change[1]; mark(change[0]); });
    last[0][0].focus();
  }
  function addRow() {
    var all = rows(), model = all[all.length - 1], place = all.length, next = model.cloneNode(true);
    if (!model.classList.contains("new") || place >= 200) return null;
    next.dataset.place = place;
    next.querySelectorAll("input").forEach(function (input) {
      input.name = input.name.replace(/-\d+$/, "-" + place);
      if (input.classList.contains("cell")) {
        input.value = input.dataset.was = "";
        delete input.dataset.now;
        input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\d+$/, place + 1));
        mark(input);
      }
    });
    body.appendChild(next);
    form.elements.rows.value = place + 1;
    if (window.htmx) window.htmx.process(next);
    return next;
  }
  function move(input, down, right) {
    var all = rows(), at = all.indexOf(input.closest("tr")), column = Number(input.dataset.col);
    if (right) {
      var line = Array.from(all[at].querySelectorAll("input.cell")), beside = line[line.indexOf(input) + right];
      if (beside) beside.focus();
      return;
    }
    for (var n = at + down; all[n]; n += down) {
      var next = cellAt(all[n], column);
      if (next) { next.focus(); next.select(); return; }
    }
  }
  function paste(input, text) {
    var lines = text.replace(/\r\n?/g, "\n").replace(/\n$/, "").split("\n");
    var row = input.closest("tr"), column = Number(input.dataset.col), changes = [];
    lines.forEach(function (line) {
      if (!row) return;
      line.split("\t").forEach(function (word, n) { changes.push([cellAt(row, column + n), word.trim()]); });
      row = row.nextElementSibling || addRow();
    });
    put(changes);
  }
  body.addEventListener("focusin", function (event) {
    if (event.target.classList.contains("cell")) event.target.dataset.now = event.target.value;
  });
  body.addEventListener("change", function (event) {
    var input = event.target;
    if (!input.classList.contains("cell") || input.value === input.dataset.now) return;
    past.push([[input, input.dataset.now || ""]]);
    input.dataset.now = input.value;
    mark(input);
  });
  body.addEventListener("paste", function (event) {
    var input = event.target.closest("input.cell"), text = event.clipboardData.getData("text/plain");
    if (!input || !/[\t\n]/.test(text.replace(/\r?\n$/, ""))) return;
    event.preventDefault();
    paste(input, text);
  });
  body.addEventListener("keydown", function (event) {
    var input = event.target.closest("input.cell");
    if (!input) return;
    var key = event.key, command = event.ctrlKey || event.metaKey;
    if (command && key.toLowerCase() === "d") {
      event.preventDefault();
      var all = rows(), at = all.indexOf(input.closest("tr"));
      for (var n = at - 1; n >= 0; n--) {
        var above = cellAt(all[n], input.dataset.col);
        if (above) { put([[input, above.value]]); break; }
      }
      move(input, 1, 0);
    } else if (command && key.toLowerCase() === "z" && input.value === (input.dataset.now || "") && past.length) {
      event.preventDefault();
      undo();
    } else if (command || event.altKey) return;
    else if (key === "ArrowDown" && !input.list) { event.preventDefault(); move(input, 1, 0); }
    else if (key === "ArrowUp" && !input.list) { event.preventDefault(); move(input, -1, 0); }
    else if (key === "Enter") { event.preventDefault(); move(input, event.shiftKey ? -1 : 1, 0); }
    else if (key === "ArrowRight" && input.selectionStart === input.value.length) move(input, 0, 1);
    else if (key === "ArrowLeft" && input.selectionEnd === 0) move(input, 0, -1);
  });
  window.addEventListener("beforeunload", function (event) {
    if (!form.dataset.sent && body.querySelector(".draft")) event.preventDefault();
  });
})();
