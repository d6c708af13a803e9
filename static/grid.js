/* Keys for the grid of rules: move, paste cells, fill down, undo, select rows, take a suggestion. The form works without it. */
(function () {
  var form = document.getElementById("grid");
  if (!form) return;
  var body = form.querySelector("tbody"), past = [], bulk = document.getElementById("bulk"), hints = document.getElementById("hints"), last = null;
  var names = form.dataset.columns.trim().split(" ");
  document.getElementById("keys").hidden = false;
  function rows() { return Array.from(body.rows); }
  function cellAt(row, column) { return row && row.querySelector('input.cell[data-col="' + column + '"]'); }
  function now(input) { return input.type === "checkbox" ? input.checked : input.value; }
  function set(input, value) {
    if (input.type === "checkbox") { input.checked = value; return; }
    input.value = value;
    input.dataset.now = value;
    mark(input);
  }
  function mark(input) { input.parentElement.classList.toggle("draft", input.value !== input.dataset.was); }
  function put(changes) {
    var before = [];
    changes.forEach(function (change) {
      if (!change[0] || now(change[0]) === change[1]) return;
      before.push([change[0], now(change[0])]);
      set(change[0], change[1]);
    });
    if (before.length) past.push(before);
  }
  function undo() {
    var step = past.pop();
    if (!step) return;
    step.forEach(function (change) { set(change[0], change[1]); });
    step[0][0].focus();
  }
  function pickOf(row) { return row.querySelector("input.pick"); }
  function picked() { return rows().filter(function (row) { return pickOf(row).checked; }); }
  function pick(row, on) {
    pickOf(row).checked = on;
    row.classList.toggle("picked", on);
  }
  function tell() {
    var count = picked().length;
    bulk.hidden = !count;
    document.getElementById("bulk-count").textContent = count + (count === 1 ? " row" : " rows");
    form.querySelector("thead input.pick").checked = count > 0 && count === rows().length;
  }
  function pickTo(row) {
    var all = rows(), from = all.indexOf(last || row), to = all.indexOf(row);
    all.slice(Math.min(from, to), Math.max(from, to) + 1).forEach(function (each) { pick(each, true); });
    tell();
  }
  function toggle(row) {
    pick(row, !pickOf(row).checked);
    last = row;
    tell();
  }
  function addPick(row, tag, label) {
    var cell = document.createElement(tag), box = document.createElement("input");
    cell.className = "c fit";
    if (tag === "th") cell.scope = "col";
    box.type = "checkbox";
    box.className = "form-check-input pick";
    box.setAttribute("aria-label", label);
    cell.appendChild(box);
    row.insertBefore(cell, row.firstChild);
  }
  addPick(form.querySelector("thead tr"), "th", "Select all rows");
  rows().forEach(function (row, n) { addPick(row, "td", "Select row " + (n + 1)); });
  function addRow() {
    var all = rows(), model = all[all.length - 1], place = all.length, next = model.cloneNode(true);
    if (!model.classList.contains("new") || place >= 200) return null;
    next.dataset.place = place;
    next.querySelectorAll("input").forEach(function (input) {
      input.name = input.name.replace(/-\d+$/, "-" + place);
      if (input.hasAttribute("aria-label")) input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\d+$/, place + 1));
      if (input.classList.contains("pick")) input.checked = false;
      if (input.name.indexOf("offered-") === 0) input.remove();
      if (input.classList.contains("cell")) {
        input.value = input.dataset.was = "";
        delete input.dataset.now;
        mark(input);
      }
    });
    next.classList.remove("picked");
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
  function fillDown(input) {
    var all = rows(), column = input.dataset.col, many = picked();
    if (many.length > 1) {
      var top = cellAt(many[0], column) || input;
      put(many.slice(1).map(function (row) { return [cellAt(row, column), top.value]; }));
      return;
    }
    for (var n = all.indexOf(input.closest("tr")) - 1; n >= 0; n--) {
      var above = cellAt(all[n], column);
      if (above) { put([[input, above.value]]); break; }
    }
    move(input, 1, 0);
  }
  function suggest(input) {
    var row = input.closest("tr"), value = row.querySelector('input[name^="value-"]'), first = hints.querySelector("[data-take]");
    if (!value || !value.classList.contains("cell")) return;
    if (first && hints.dataset.place === row.dataset.place) { first.click(); return; }
    var asked = new URLSearchParams({ kind: form.dataset.kind, for: value.name });
    ["key", "legal_entity", "connection"].forEach(function (name) {
      var cell = row.querySelector('input[name^="' + name + '-"]');
      if (cell) asked.set(name, cell.value);
    });
    window.htmx.ajax("GET", form.dataset.hints + "?" + asked, { target: "#hints", swap: "innerHTML" }).then(function () {
      var note = hints.querySelector("[data-offered]"), known = row.querySelector('input[name^="offered-"]');
      hints.dataset.place = row.dataset.place;
      if (!note) return;
      if (!known) {
        known = document.createElement("input");
        known.type = "hidden";
        known.name = value.name.replace("value-", "offered-");
        value.parentElement.appendChild(known);
      }
      known.value = note.dataset.offered;
    });
  }
  function bulkDo(act) {
    var many = picked();
    if (act === "clear") { many.forEach(function (row) { pick(row, false); }); tell(); return; }
    if (act === "retire") {
      put(many.map(function (row) { return [row.querySelector('input[name^="retire-"]'), true]; }));
      return;
    }
    var column = names.indexOf(document.getElementById("bulk-column").value), text = document.getElementById("bulk-value").value.trim();
    put(many.map(function (row) { return [cellAt(row, column), text]; }));
  }
  bulk.addEventListener("click", function (event) {
    var button = event.target.closest("[data-bulk]");
    if (button) bulkDo(button.dataset.bulk);
  });
  bulk.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && event.target.id === "bulk-value") { event.preventDefault(); bulkDo("set"); }
  });
  form.addEventListener("change", function (event) {
    var box = event.target;
    if (!box.classList.contains("pick")) return;
    if (box.closest("thead")) rows().forEach(function (row) { pick(row, box.checked); });
    else { pick(box.closest("tr"), box.checked); last = box.closest("tr"); }
    tell();
  });
  body.addEventListener("mousedown", function (event) {
    var row = event.target.closest("tr");
    if (event.target.type === "checkbox" || !(event.shiftKey || event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (event.shiftKey) pickTo(row); else toggle(row);
  });
  body.addEventListener("focusin", function (event) {
    if (event.target.closest("tr").dataset.place !== hints.dataset.place) { hints.textContent = ""; delete hints.dataset.place; }
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
      fillDown(input);
    } else if (command && key === " ") {
      event.preventDefault();
      toggle(input.closest("tr"));
    } else if (event.shiftKey && (key === "ArrowDown" || key === "ArrowUp")) {
      event.preventDefault();
      last = last && pickOf(last).checked ? last : input.closest("tr");
      pick(input.closest("tr"), true);
      move(input, key === "ArrowDown" ? 1 : -1, 0);
      pickTo(document.activeElement.closest("tr"));
    } else if (key === "F2") {
      event.preventDefault();
      event.stopPropagation();
      suggest(input);
    } else if (key === "Escape" && picked().length) {
      event.preventDefault();
      bulkDo("clear");
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
    var ticked = body.querySelector('input[name^="retire-"]:checked');
    if (!form.dataset.sent && (form.dataset.typed || ticked || body.querySelector(".draft"))) event.preventDefault();
  });
})();
