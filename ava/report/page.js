"use strict";
// What the pointer is over, in numbers. Without this script the page says the same in its tables.
for (const plot of document.querySelectorAll(".plot")) {
  const { low, high, bottom, top, log } = plot.dataset;
  const cursor = plot.querySelector(".cursor");
  const readout = plot.parentElement.querySelector(".readout");
  const lines = [...plot.querySelectorAll("g.line")].map((group) => ({
    name: group.dataset.run,
    points: [...group.querySelectorAll("polyline.values")].flatMap((line) => [...line.points]),
  }));
  const step = (x) => Number(low) + (x / 1000) * (Number(high) - Number(low));
  const value = (y) => {
    const up = 1 - y / 1000;
    if (!log) return Number(bottom) + up * (Number(top) - Number(bottom));
    return Number(bottom) * (Number(top) / Number(bottom)) ** up;
  };
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const x = Math.min(Math.max(((event.clientX - box.left) / box.width) * 1000, 0), 1000);
    let at = null;
    const words = [];
    for (const { name, points } of lines) {
      let near = null;
      for (const point of points) {
        if (near === null || Math.abs(point.x - x) < Math.abs(near.x - x)) near = point;
      }
      if (near === null) continue;
      at ??= near.x;
      const text = value(near.y).toPrecision(3).replace("-", "\u2212");
      words.push(lines.length > 1 ? `${name}: ${text}` : text);
    }
    if (at === null) return;
    cursor.hidden = false;
    cursor.style.left = `${at / 10}%`;
    readout.textContent = `step ${Math.round(step(at)).toLocaleString("en")} \u00b7 ${words.join(" \u00b7 ")}`;
  };
  const hide = () => {
    cursor.hidden = true;
    readout.textContent = "";
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
