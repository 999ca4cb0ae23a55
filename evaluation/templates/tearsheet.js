// Values under the pointer. Everything else on the page works without scripts.
"use strict";
const written = {
  percent: (v) => (100 * v).toFixed(2) + "\u00a0%",
  money: (v) => "$" + compact(v),
  number: (v) => compact(v),
};
function compact(v) {
  const size = [[1e9, "B"], [1e6, "M"], [1e3, "K"]].find(([s]) => Math.abs(v) >= s) ?? [1, ""];
  return Number((v / size[0]).toPrecision(4)) + size[1];
}
function nearest(days, day) {
  let low = 0, high = days.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (days[middle] < day) low = middle; else high = middle;
  }
  return day - days[low] < days[high] - day ? low : high;
}
for (const plot of document.querySelectorAll(".plot")) {
  const data = JSON.parse(plot.querySelector("script").textContent);
  let last = 0;
  const days = data.days.map((step) => (last += step));
  const cells = plot.classList.contains("cells");
  const cursor = document.createElement("div"), tip = document.createElement("div");
  cursor.className = "cursor";
  tip.className = "tip";
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const row = Math.floor((event.clientY - box.top) / box.height * data.lines.length);
    const i = cells
      ? Math.min(Math.floor(x * days.length), days.length - 1)
      : nearest(days, days[0] + x * (days.at(-1) - days[0]));
    const at = cells ? (i + 0.5) / days.length : (days[i] - days[0]) / (days.at(-1) - days[0] || 1);
    const lines = cells ? data.lines.filter((_, n) => n === row) : data.lines;
    tip.replaceChildren(new Date(days[i] * 864e5).toISOString().slice(0, 10));
    for (const line of lines) {
      const value = line.values[i];
      const text = value === null || (cells && !value) ? "\u2013" : written[data.unit](value).replace("-", "\u2212");
      tip.append(document.createElement("br"), `${line.name} ${text}`);
    }
    cursor.style.left = tip.style.left = `${100 * at}%`;
    tip.style.transform = at > 0.5 ? "translateX(calc(-100% - 8px))" : "translateX(8px)";
    plot.append(cursor, tip);
  });
  plot.addEventListener("pointerleave", () => { cursor.remove(); tip.remove(); });
}
