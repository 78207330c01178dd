// The map: one canvas, every machine a tile of chips. A chip fills from below with what is granted of it.

const box = document.querySelector("[data-map]");
const canvas = box.querySelector("canvas");
const who = box.querySelector("[data-who]");
const legend = box.querySelector("[data-legend]");
const OWNERS = ["#0f7c84", "#d8992c", "#7a5ba8", "#3f7fbf", "#b0567a", "#5d8a3a", "#a8713b", "#6b7a86"];
const CLASSES = { critical: "#b83a3a", standard: "#0f7c84", spare: "#8aa83a" };
const ILL = { suspect: "?", back: "+" };
const MARKS = { critical: "!", standard: "", spare: "~" };
let nodes = [];
let chips = [];
let chosen = -1;
let pinned = "";

const by = () => box.querySelector("[name=by]:checked").value;
const theme = () => {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["used", "idle", "down", "line", "ink", "muted", "surface", "warn", "strong"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
};
// A person keeps a colour: the same name gives the same one.
function owner(name) {
  let hash = 0;
  for (const c of name) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  return OWNERS[hash % OWNERS.length];
}

// Where everything is; only when the data or the width is new.
function lay() {
  const width = canvas.clientWidth;
  const count = nodes.reduce((sum, node) => sum + 1 + node.d.length, 0);
  const size = count > 12000 ? 5 : count > 3000 ? 8 : count > 600 ? 14 : count > 60 ? 26 : 48;
  const gap = size > 8 ? 3 : 1;
  const label = size >= 14 ? 18 : 0;
  chips = [];
  let [x, y, tall] = [0, 0, 0];
  const tiles = [];
  for (const [n, node] of nodes.entries()) {
    const parts = 1 + node.d.length;
    const across = parts <= 9 ? parts : Math.ceil(Math.sqrt(parts) * 1.4);
    const down = Math.ceil(parts / across);
    const wide = Math.max(across * (size + gap), label ? Math.min(140, 7 * node.n.length + 8) : 0);
    const high = down * (size + gap) + label;
    if (x > 0 && x + wide > width) { x = 0; y += tall; tall = 0; }
    tiles.push({ n, x, y, wide });
    for (let part = 0; part < parts; part++) {
      chips.push({ n, d: part - 1, x: x + (part % across) * (size + gap), y: y + label + Math.floor(part / across) * (size + gap) });
    }
    x += wide + (size > 8 ? 12 : 3);
    tall = Math.max(tall, high + (size > 8 ? 12 : 3));
  }
  const ratio = devicePixelRatio || 1;
  const height = Math.max(60, y + tall + 4);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  return { size, label, tiles, ratio };
}

let shape = null;
function draw() {
  const began = performance.now();
  const colour = theme();
  const mode = by();
  const pen = canvas.getContext("2d");
  pen.setTransform(shape.ratio, 0, 0, shape.ratio, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const { size } = shape;
  if (shape.label) {
    pen.font = "12px system-ui, sans-serif";
    for (const tile of shape.tiles) {
      pen.fillStyle = nodes[tile.n].s === "ready" ? colour.muted : colour.down;
      const state = nodes[tile.n].s === "ready" ? "" : ` (${nodes[tile.n].s})`;
      pen.fillText((nodes[tile.n].n + state).slice(0, 24), tile.x, tile.y + 12);
    }
  }
  if (size < 14) {
    dots(pen, mode, colour, size);
  } else {
    const fill = (style, x, y, w, h) => { pen.fillStyle = style; pen.fillRect(x, y, w, h); };
    for (const chip of chips) paint(chip, mode, colour, size, fill);
  }
  if (size >= 14) marks(pen, mode, colour, size);
  const at = chips[chosen];
  if (at) {
    pen.strokeStyle = colour.ink;
    pen.lineWidth = 2;
    pen.strokeRect(at.x - 1, at.y - 1, size + 2, size + 2);
  }
  canvas.dataset.frameMs = (performance.now() - began).toFixed(2);
  canvas.dataset.chips = chips.length;
}

// Thousands of small chips: written as pixels, which takes a tenth of the time that as many rectangles take.
function dots(pen, mode, colour, size) {
  const { width, height } = canvas;
  const image = pen.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const inks = new Map();
  const ink = (style) => {
    const hex = style.slice(1);
    const n = parseInt(hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex, 16);
    const value = (0xff000000 | ((n & 0xff) << 16) | (n & 0xff00) | (n >> 16)) >>> 0;
    inks.set(style, value);
    return value;
  };
  const { ratio } = shape;
  const fill = (style, x, y, w, h) => {
    const value = inks.get(style) ?? ink(style);
    const [left, right] = [Math.round(x * ratio), Math.min(width, Math.round((x + w) * ratio))];
    const low = Math.min(height, Math.round((y + h) * ratio));
    for (let line = Math.round(y * ratio); line < low; line++) {
      const start = line * width;
      for (let at = start + left; at < start + right; at++) pixels[at] = value;
    }
  };
  for (const chip of chips) paint(chip, mode, colour, size, fill);
  pen.putImageData(image, 0, 0);
}

const well = (node) => node.s === "ready" || node.s === "draining";
function paint(chip, mode, colour, size, fill) {
  const node = nodes[chip.n];
  const device = node.d[chip.d];
  const { x, y } = chip;
  const healthy = well(node) && (!device || device.h);
  fill(healthy ? colour.idle : well(node) && ILL[device.s] ? colour.warn : colour.down, x, y, size, size);
  if (!healthy) return;
  if (mode === "health") { fill(node.s === "draining" ? colour.warn : colour.used, x, y, size, size); return; }
  const granted = device ? device.u / 1000 : node.c[2] ? Math.min(1, node.c[0] / node.c[2]) : 0;
  if (mode === "use" || !device) { const h = size * granted; fill(colour.used, x, y + size - h, size, h); return; }
  let low = size;
  for (const [, user, kind, share] of device.w) {
    const h = size * Math.min(1000, share) / 1000;
    fill(mode === "owner" ? owner(user) : CLASSES[kind], x, y + low - h, size, h);
    low -= h;
  }
}

// Never colour alone: what is broken is crossed out, what is under suspicion or proves itself has a sign, classes and owners have a letter.
function marks(pen, mode, colour, size) {
  pen.font = `${Math.round(Math.min(14, size * 0.42))}px system-ui, sans-serif`;
  pen.textAlign = "center";
  for (const chip of chips) {
    const node = nodes[chip.n];
    const device = node.d[chip.d];
    const middle = [chip.x + size / 2, chip.y + size * 0.62];
    if (well(node) && device && ILL[device.s]) {
      pen.fillStyle = colour.surface;
      pen.fillText(ILL[device.s], ...middle);
    } else if (!well(node) || (device && !device.h)) {
      pen.strokeStyle = colour.surface;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(chip.x + 4, chip.y + 4);
      pen.lineTo(chip.x + size - 4, chip.y + size - 4);
      pen.moveTo(chip.x + size - 4, chip.y + 4);
      pen.lineTo(chip.x + 4, chip.y + size - 4);
      pen.stroke();
    } else if (!device) {
      pen.fillStyle = colour.ink;
      pen.fillText("cpu", chip.x + size / 2, chip.y + size * 0.4);
    } else if (device.w.length && mode !== "use" && mode !== "health") {
      pen.fillStyle = "#fff";
      pen.fillText(mode === "owner" ? device.w[0][1].slice(0, 1) : MARKS[device.w[0][2]], ...middle);
    }
  }
  pen.textAlign = "start";
}

function key() {
  const colour = theme();
  const owners = [...new Set(nodes.flatMap((node) => node.d.flatMap((device) => device.w.map((one) => one[1]))))].slice(0, 8);
  const entries = {
    use: [["granted", colour.used], ["free", colour.idle], ["down", colour.down]],
    owner: owners.map((name) => [name, owner(name)]),
    class: Object.entries(CLASSES),
    health: [["in service", colour.used], ["draining; suspected (?), proving itself (+)", colour.warn], ["down or sick (×)", colour.down]],
  }[by()];
  legend.replaceChildren(...entries.map(([name, shade]) => {
    const entry = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = shade;
    entry.append(swatch, name);
    return entry;
  }));
}

const link = (id) => {
  const a = document.createElement("a");
  a.href = `/jobs/${encodeURIComponent(id.split(/[[.]/)[0])}`;
  a.textContent = id;
  return a;
};
const ill = (device) => `${device.s}${device.b ? `: ${device.b}` : ""}${device.t ? `; not given out since ${device.t} UTC` : ""}`;
function say() {
  const chip = chips[chosen];
  if (!chip) return;
  const node = nodes[chip.n];
  const device = node.d[chip.d];
  const bold = document.createElement("b");
  bold.textContent = device ? `${node.n} · device ${chip.d} · ${device.m}` : `${node.n} · ${node.c[0] / 1000} of ${node.c[2] / 1000} cores granted`;
  const parts = [bold, ` – ${device && !device.h ? ill(device) : node.s}. `];
  if (device && device.x) parts.push(`${device.x[0].toUpperCase()}${device.x.slice(1)}. `);
  const holders = device ? device.w.map(([task, user, kind, share]) => [task, ` ${user}, ${kind}, ${share / 10} %`]) : node.g.slice(0, 12).map((gang) => [gang, ""]);
  if (!holders.length) parts.push(device ? "Nobody is on it." : "No job is on it.");
  holders.forEach(([id, text], n) => parts.push(n ? "; " : "On it: ", link(id), text));
  if (!device && node.g.length > 12) parts.push(` and ${node.g.length - 12} more`);
  who.replaceChildren(...parts);
}

function under(event) {
  const place = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - place.left, event.clientY - place.top];
  const { size } = shape;
  return chips.findIndex((chip) => x >= chip.x && x < chip.x + size + 2 && y >= chip.y && y < chip.y + size + 2);
}
function pick(place, hold) {
  if (place < 0 || place >= chips.length) return;
  chosen = place;
  const chip = chips[place];
  if (hold) {
    pinned = `${nodes[chip.n].n}/${chip.d}`;
    history.replaceState(null, "", `#${encodeURIComponent(pinned)}`);
  }
  say();
  draw();
}

canvas.addEventListener("pointermove", (event) => { if (!pinned) { const place = under(event); if (place !== chosen) pick(place, false); } });
canvas.addEventListener("click", (event) => { pinned = ""; pick(under(event), true); });
canvas.addEventListener("keydown", (event) => {
  const row = () => {
    const from = chips[Math.max(0, chosen)];
    const other = chips.map((chip, n) => [n, chip]).filter(([, chip]) => event.key === "ArrowDown" ? chip.y > from.y : chip.y < from.y);
    const y = event.key === "ArrowDown" ? Math.min(...other.map(([, chip]) => chip.y)) : Math.max(...other.map(([, chip]) => chip.y));
    return other.filter(([, chip]) => chip.y === y).sort((a, b) => Math.abs(a[1].x - from.x) - Math.abs(b[1].x - from.x))[0]?.[0] ?? chosen;
  };
  const to = { ArrowRight: () => chosen + 1, ArrowLeft: () => chosen - 1, ArrowDown: row, ArrowUp: row, Home: () => 0, End: () => chips.length - 1 }[event.key];
  if (event.key === "Enter") who.querySelector("a")?.click();
  if (!to || !chips.length) return;
  event.preventDefault();
  pick(Math.max(0, Math.min(to(), chips.length - 1)), true);
});
for (const radio of box.querySelectorAll("[name=by]")) radio.addEventListener("change", () => { key(); draw(); });

async function load() {
  const answer = await fetch(box.dataset.map, { headers: { accept: "application/json" } });
  if (!answer.ok) return;
  nodes = await answer.json();
  box.hidden = nodes.length === 0;
  if (!nodes.length) return;
  shape = lay();
  const wanted = pinned || decodeURIComponent(location.hash.slice(1));
  const found = chips.findIndex((chip) => `${nodes[chip.n].n}/${chip.d}` === wanted);
  chosen = found >= 0 ? found : Math.min(chosen, chips.length - 1);
  if (found >= 0) pinned = wanted;
  key();
  draw();
  if (chosen >= 0) say();
}

// A link of the page itself points at a device.
addEventListener("hashchange", () => {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const place = chips.findIndex((chip) => `${nodes[chip.n].n}/${chip.d}` === wanted);
  if (place >= 0) { pick(place, true); canvas.focus(); }
});

let last = 0;
document.addEventListener("pond:tick", () => { if (Date.now() - last > 1500) { last = Date.now(); load(); } });
document.addEventListener("pond:theme", () => { key(); draw(); });
addEventListener("resize", () => { if (nodes.length) { shape = lay(); draw(); } });
load();
