/* What no server can do: copy, keys, the browser's back-forward cache, a line for a lost connection, and one for somebody who was signed out. Nothing here is needed to work. */
(function () {
  function say(text) {
    var live = document.getElementById("live");
    if (live) live.textContent = text;
  }
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button || !navigator.clipboard) return;
    navigator.clipboard.writeText(button.dataset.copy).then(function () { say("Copied " + button.dataset.copy); });
  });
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-dismiss]");
    if (button) button.closest("[data-dismissable]").remove();
  });
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-take]");
    if (!button) return;
    var field = document.getElementById(button.dataset.for) || document.getElementsByName(button.dataset.for)[0];
    field.value = button.dataset.take;
    field.dispatchEvent(new Event("change", { bubbles: true }));
    field.focus();
    say(button.getAttribute("aria-label").replace("Take ", "Filled in: "));
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.method === "post" && away) { event.preventDefault(); told(away); look(); return; }
    if (form.method !== "post" || form.dataset.sent) { if (form.dataset.sent) event.preventDefault(); return; }
    form.dataset.sent = "yes";
    form.setAttribute("aria-busy", "true");
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form[data-sent]").forEach(function (form) { delete form.dataset.sent; form.removeAttribute("aria-busy"); });
  });
  function rows() { return Array.from(document.querySelectorAll("tr[data-row]")); }
  function go(step) {
    var all = rows();
    if (!all.length) return;
    var now = all.findIndex(function (row) { return row.classList.contains("cur"); });
    var next = all[Math.min(all.length - 1, Math.max(0, now + step))];
    all.forEach(function (row) { row.classList.toggle("cur", row === next); });
    next.querySelector("a").focus();
  }
  // A poll isn't somebody who works: it doesn't keep the session alive.
  document.addEventListener("htmx:configRequest", function (event) {
    var asks = event.detail.elt.getAttribute("hx-trigger") || "";
    if (!event.detail.triggeringEvent && /\bevery\b/.test(asks)) event.detail.headers["X-By-Itself"] = "1";
  });
  // Whoever fills in a long form is at work too, though it asks for nothing: the server hears of it every four minutes.
  // Its answer tells whether they are still signed in: if they aren't, what is typed stays and isn't sent.
  var heard = Date.now(), asked = 0, away = ""; // "out": signed out; "other": somebody else has signed in
  function told(how) {
    var box = document.getElementById("out");
    box.hidden = false;
    box.querySelectorAll("[data-when]").forEach(function (line) {
      line.hidden = line.dataset.when !== how;
      if (!line.hidden) say(line.textContent);
    });
  }
  function look() {
    var mine = asked += 1;
    heard = Date.now();
    return fetch(document.body.dataset.here, { redirect: "manual" }).then(function (answer) {
      if (mine !== asked) return; // it was asked again meanwhile: a late answer tells what was
      var who = answer.headers.get("X-Person"), token = answer.headers.get("X-CSRF-Token"), was = away;
      if (answer.type === "opaqueredirect") away = "out";
      else if (who) away = who === document.body.dataset.person ? "" : "other";
      if (who && !away) {
        document.querySelectorAll("input[name=csrfmiddlewaretoken]").forEach(function (field) { field.value = token; });
        document.body.setAttribute("hx-headers", JSON.stringify({ "x-csrftoken": token }));
      }
      if (away !== was) told(away || "back");
    }).catch(function () {});
  }
  function atWork() {
    if (document.body.dataset.here && Date.now() - heard >= 240000) look();
  }
  function backAgain() { if (away && !document.hidden) look(); }
  window.addEventListener("focus", backAgain);
  document.addEventListener("visibilitychange", backAgain);
  document.addEventListener("click", function (event) {
    var button = event.target.closest("#out button");
    if (button) button.parentNode.hidden = true;
  });
  ["keydown", "input", "paste", "pointerdown"].forEach(function (name) { document.addEventListener(name, atWork, true); });
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (away || document.hidden && event.target.closest("[data-poll]")) event.preventDefault();
    if (away && event.detail.requestConfig.triggeringEvent) told(away);
  });
  function follow(selector) {
    var link = document.querySelector(selector);
    if (link) link.click();
  }
  document.addEventListener("keydown", function (event) {
    var field = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select");
    if ((event.key === "k" || event.key === "K") && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      document.getElementById("find").focus();
      return;
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      var main = document.querySelector("[data-primary]");
      if (main && !main.disabled) { event.preventDefault(); main.click(); }
      return;
    }
    if (event.key === "Escape") {
      var open = event.target.closest("details[open].menu, details[open].pick");
      if (open) { open.open = false; open.querySelector("summary").focus(); }
      return;
    }
    if (event.key === "F2") {
      var first = document.querySelector("[data-take]");
      if (first) { event.preventDefault(); first.click(); }
      return;
    }
    if (field || event.ctrlKey || event.metaKey || event.altKey || document.body.dataset.letterKeys === "off") return;
    var asked = document.querySelector('[data-key="' + CSS.escape(event.key) + '"]');
    if (asked) {
      event.preventDefault();
      var holder = asked.closest("details");
      if (holder) holder.open = true;
      var first = asked.querySelector("input:not([type=hidden]), select, textarea, button") || asked;
      first.focus();
      first.scrollIntoView({ block: "nearest" });
      return;
    }
    if (/^[1-9]$/.test(event.key)) {
      var tabs = document.querySelectorAll(".views a");
      if (tabs[event.key - 1]) { event.preventDefault(); tabs[event.key - 1].click(); }
      return;
    }
    if (event.key === "/") { event.preventDefault(); document.getElementById("find").focus(); }
    else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "o") follow("tr.cur a.say");
    else if (event.key === "n") follow("a[rel=next]");
    else if (event.key === "N") follow("a[rel=prev]");
    else if (event.key === "f") { var box = document.querySelector("details.pick"); if (box) { event.preventDefault(); box.open = true; box.querySelector("input, select").focus(); } }
    else if (event.key === "?") follow("a.help");
  });
  document.addEventListener("htmx:sendError", function () {
    var line = document.getElementById("lost");
    if (line) line.hidden = false;
    say("The connection is lost. Trying again.");
  });
  document.addEventListener("htmx:afterRequest", function (event) {
    var line = document.getElementById("lost");
    if (line && event.detail.successful) line.hidden = true;
  });
})();
