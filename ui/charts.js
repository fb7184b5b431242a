// Three kinds of small charts as SVG. Knows nothing of what the numbers mean.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.charts = (() => {
  const WIDTH = 100;
  const HEIGHT = 40;

  const shape = (name, attributes, title) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (title) element.append(Object.assign(document.createElementNS("http://www.w3.org/2000/svg", "title"), { textContent: title }));
    return element;
  };

  const fill = (svg, label, shapes) => {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-label", label);
    svg.replaceChildren(...shapes);
  };

  const path = (values, top, places) => {
    const step = WIDTH / Math.max(1, places - 1);
    const from = WIDTH - step * (values.length - 1); // the newest is at the right
    return values.map((value, index) => `${(from + index * step).toFixed(2)},${(HEIGHT - (HEIGHT * value) / top).toFixed(2)}`);
  };

  // A line, and a dashed line for its target.
  const line = (svg, label, values, target, places) => {
    const top = Math.max(1, target || 0, ...values) * 1.15;
    const points = path(values, top, places);
    const shapes = [];
    if (target) {
      const y = HEIGHT - (HEIGHT * target) / top;
      shapes.push(shape("line", { class: "target", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    if (points.length > 1) shapes.push(shape("polyline", { class: "line", points: points.join(" ") }));
    fill(svg, label, shapes);
  };

  // A stacked column for each sample. samples: a list of {part: value}.
  const stack = (svg, label, samples, parts, places) => {
    const sums = samples.map((sample) => parts.reduce((sum, part) => sum + (sample[part] || 0), 0));
    const top = Math.max(1, ...sums);
    const step = WIDTH / places;
    const shapes = samples.flatMap((sample, index) => {
      let y = HEIGHT;
      return parts.map((part) => {
        const height = (HEIGHT * (sample[part] || 0)) / top;
        y -= height;
        return shape("rect", { class: part, x: WIDTH - step * (samples.length - index), width: step * 0.8, y, height });
      });
    });
    fill(svg, label, shapes);
  };

  // A bar for each value. values: [{value, title}].
  const bars = (svg, label, values, places) => {
    const top = Math.max(1, ...values.map(({ value }) => value));
    const step = WIDTH / places;
    const shapes = values.map(({ value, title }, index) => {
      const height = Math.max(1, (HEIGHT * value) / top);
      const x = WIDTH - step * (values.length - index);
      return shape("rect", { class: "bar", x, width: step * 0.7, y: HEIGHT - height, height }, title);
    });
    fill(svg, label, shapes);
  };

  return { line, stack, bars };
})();
