// Live refresh, keys, copying, confirming. A page works without any of it.

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Live: one stream of ticks a page, only while it is seen; a tick fetches the region anew.
let stream = null;
let ready = true;

// Whether the reader is in the middle of something that new content would take away.
function occupied(live) {
  const changed = all("input, select", live).some((field) => field.type === "checkbox"
    ? field.checked !== field.defaultChecked
    : field.tagName === "SELECT" ? ![...field.options].every((option) => option.selected === option.defaultSelected || !field.dataset.touched)
      : field.value !== field.defaultValue);
  const selection = getSelection();
  const reading = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  const typing = live.contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  return changed || reading || typing || Boolean($("dialog[open]"));
}

function busy() {
  const live = $("#live");
  return !live || !ready || occupied(live);
}

function refresh() {
  if (!window.htmx || busy()) return;
  ready = false;
  window.htmx.trigger("#live", "live");
}

function listen() {
  if (stream || document.hidden || !$("#live[hx-get]")) return;
  stream = new EventSource("/live");
  let first = true;
  stream.onmessage = () => {
    $("[data-offline]")?.setAttribute("hidden", "");
    // The first tick says where the pool is; the page is that new already, unless the stream broke in between.
    if (!first) refresh();
    first = false;
    document.dispatchEvent(new CustomEvent("pond:tick"));
  };
  stream.onerror = () => $("[data-offline]")?.removeAttribute("hidden");
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.close();
    stream = null;
  } else {
    listen();
    refresh();
  }
});
addEventListener("pagehide", () => stream?.close());

// What the reader had set survives a refresh: where boxes were scrolled to, what was open, which row was chosen.
let kept = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  // Begun while the new content was on its way.
  if (event.detail.target.id === "live" && occupied(event.detail.target)) {
    event.detail.shouldSwap = false;
    return;
  }
  kept = {
    scrolled: all("#live .scroll, #live .log, #live .timeline").map((box) => [box.scrollLeft, box.scrollTop, atEnd(box)]),
    open: all("#live details").map((box) => box.open),
    row: rows().findIndex((row) => row.ariaSelected === "true"),
  };
});
document.addEventListener("htmx:afterSwap", () => {
  if (kept) {
    all("#live .scroll, #live .log, #live .timeline").forEach((box, place) => {
      const before = kept.scrolled[place];
      if (before) [box.scrollLeft, box.scrollTop] = [before[0], before[2] && box.matches("[data-tail]") ? box.scrollHeight : before[1]];
    });
    all("#live details").forEach((box, place) => { if (place in kept.open) box.open = kept.open[place]; });
    if (kept.row >= 0) choose(kept.row, false);
  }
  show();
});
document.addEventListener("htmx:afterRequest", () => { ready = true; });

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 4;

// What only makes sense with scripts is hidden until here.
function show() {
  for (const button of all("[data-copy], [data-theme-toggle], [data-help]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy !== undefined) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }
  if (button.dataset.themeToggle !== undefined) theme();
  if (button.dataset.help !== undefined) $("#keys")?.showModal();
});
document.addEventListener("submit", (event) => {
  const words = event.submitter?.dataset.confirm;
  if (words && !confirm(words)) event.preventDefault();
});
document.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") event.target.dataset.touched = "1"; });

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("pond-theme", root.dataset.theme); } catch { /* it lasts for this page */ }
  document.dispatchEvent(new CustomEvent("pond:theme"));
}

// Keys. Single letters, as no field has the focus then.
const rows = () => all("tr[data-row]");
function choose(place, scroll = true) {
  const list = rows();
  if (!list.length) return;
  const at = Math.max(0, Math.min(place, list.length - 1));
  list.forEach((row, n) => { row.ariaSelected = n === at ? "true" : null; });
  if (scroll) {
    list[at].scrollIntoView({ block: "nearest" });
    $("a", list[at])?.focus({ preventScroll: true });
  }
}

let going = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const chosen = rows().findIndex((row) => row.ariaSelected === "true");
  if (Date.now() - going < 1200) {
    going = 0;
    const link = $(`nav [data-key="${CSS.escape(event.key)}"]`);
    if (link) link.click();
    return;
  }
  switch (event.key) {
    case "g": going = Date.now(); return;
    case "j": choose(chosen + 1); break;
    case "k": choose(Math.max(0, chosen - 1)); break;
    case "t": theme(); break;
    case "?": $("#keys")?.showModal(); break;
    case "/": $("[data-search]")?.focus(); break;
    default: return;
  }
  event.preventDefault();
});

show();
listen();
for (const box of all("[data-tail]")) box.scrollTop = box.scrollHeight;
for (const box of all("[data-close-with-js]")) box.open = false;
