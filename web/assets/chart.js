// Use over time: two charts, filled from the samples that the server keeps.

const box = document.querySelector("[data-chart]");
const charts = new Map();
const bytes = (n) => {
  for (const [size, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "KB"]]) if (n >= size) return `${+(n / size).toFixed(1)} ${unit}`;
  return `${n} B`;
};
const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["used", "line", "muted", "waste", "planned", "down", "ink"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
};

// One time axis for all tasks: each has its own moments.
function joined(tasks, field) {
  const moments = [...new Set(tasks.flatMap((task) => task.at_ms))].sort((a, b) => a - b);
  const columns = tasks.map((task) => {
    const values = new Map(task.at_ms.map((at, n) => [at, field === "cpu_milli" ? task[field][n] / 1000 : task[field][n]]));
    return moments.map((at) => values.get(at));
  });
  return [moments.map((at) => at / 1000), ...columns];
}

// Moments as on the rest of the page: in UTC, with the date where ticks are days apart.
const clock = (at, apart) => {
  const [day, time] = new Date(at * 1000).toISOString().split("T");
  return apart >= 86400 ? day : time.slice(0, apart >= 60 ? 5 : 8);
};

// The library makes years of a single moment: show a minute around it.
const window_of = (moments, from, to) => moments.length === 1 ? [moments[0] - 30, moments[0] + 30] : [from, to];

function draw(place, tasks, again) {
  const field = place.dataset.plot;
  const data = joined(tasks, field);
  const names = tasks.map((task) => task.task).join();
  const kept = charts.get(place);
  if (kept && !again && kept.names === names) { kept.plot.setData(data); return; }
  kept?.plot.destroy();
  const colour = colours();
  const value = place.dataset.unit === "bytes" ? bytes : (n) => `${+n.toFixed(2)}`;
  const shades = [colour.used, colour.waste, colour.planned, colour.down, colour.muted];
  const dashes = [[], [6, 4], [2, 3], [8, 3, 2, 3]];
  const axis = { stroke: colour.muted, grid: { stroke: colour.line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const plot = new window.uPlot({
    title: place.dataset.unit === "bytes" ? "Memory" : "CPU, cores",
    width: place.clientWidth, height: 190, legend: { show: tasks.length > 1 && tasks.length <= 8 },
    cursor: { points: { size: 6 } },
    series: [{ label: "UTC", value: (_, at) => at == null ? "–" : clock(at, 1) }, ...tasks.map((task, n) => ({
      label: task.task, stroke: shades[n % shades.length], dash: dashes[Math.floor(n / shades.length) % dashes.length], width: 1.6, spanGaps: true,
      fill: tasks.length === 1 ? `${colour.used}22` : undefined, points: { show: task.at_ms.length < 3 }, value: (_, n) => n == null ? "–" : value(n),
    }))],
    scales: { x: { range: (plot, from, to) => window_of(plot.data[0], from, to) }, y: { range: (_, __, most) => [0, (most || 1) * 1.1] } },
    axes: [{ ...axis, values: (_, ticks, __, ___, apart) => ticks.map((at) => clock(at, apart)) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(value) }],
  }, data, place);
  charts.set(place, { plot, names });
}

let at = 0;
async function load(again = false) {
  if (!box || !window.uPlot || (!again && Date.now() - at < 1500)) return;
  at = Date.now();
  const answer = await fetch(box.dataset.chart, { headers: { accept: "application/json" } });
  if (!answer.ok) return;
  const tasks = (await answer.json()).tasks.filter((task) => task.at_ms.length).slice(0, 16);
  box.hidden = tasks.length === 0;
  if (tasks.length) for (const place of box.querySelectorAll("[data-plot]")) draw(place, tasks, again);
}

document.addEventListener("pond:tick", () => load());
document.addEventListener("pond:theme", () => load(true));
let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => load(true), 150); });
load();
