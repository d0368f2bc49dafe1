// Two weights: paths on the landscape, the gradients at the chosen run's step, and other batches' gradients.
const explorerKind = ({ data, state, slots, main, model, bytes, floats, figure, now, everyRun, isChosen }) => {
  const gradients = ["full_gradient", "batch_gradient"];
  const norm = (pair, t) => Math.hypot(pair[0][t], pair[1][t]);

  function unpack(packed) {
    const one = { other_count: packed.other_count, other_largest: floats(packed.other_largest) };
    for (const name of ["weights", ...gradients]) {
      const pairs = floats(packed[name]);
      one[name] = [0, 1].map((j) => pairs.filter((_, i) => i % 2 === j));
    }
    one.other_gradients = new Int8Array(bytes(packed.other_gradients).buffer);
    return one;
  }

  function draw() {
    everyRun().forEach(({ one, t, some }, i) => {
      const [x, y] = one.weights;
      const none = { x: [], y: [] };
      model("landscape", `path${i}`).data = some ? { x: x.slice(0, t + 1), y: y.slice(0, t + 1) } : none;
      model("landscape", `head${i}`).data = some ? { x: [x[t]], y: [y[t]] } : none;
    });
    moved();
  }

  // Gradients have a length on the page, whatever the zoom.
  function moved() {
    const [chosen, t] = now();
    const [x, y] = [chosen.weights[0][t], chosen.weights[1][t]];
    const others = state.others ? chosen.other_count : 0;
    const tips = { x: new Float64Array(others), y: new Float64Array(others) };
    const unit = chosen.other_largest[t] / 127;
    for (let k = 0; k < others; k++) {
      const at = 2 * (t * chosen.other_count + k);
      tips.x[k] = chosen.other_gradients[at] * unit;
      tips.y[k] = chosen.other_gradients[at + 1] * unit;
    }
    const [wide, high] = [data.view[0][1] - data.view[0][0], data.view[1][1] - data.view[1][0]];
    const zoom = (main.x_range.end - main.x_range.start) / wide;
    const lengths = Array.from(tips.x, (v, k) => Math.hypot(v, tips.y[k])).sort((a, b) => a - b);
    const longest = Math.max(lengths[Math.floor(0.9 * lengths.length)] || 0, ...gradients.map((name) => norm(chosen[name], t)));
    const scale = longest > 0 ? (0.22 * Math.min(1, zoom) * Math.min(wide, high)) / longest : 0;
    for (let k = 0; k < others; k++) {
      tips.x[k] = x - scale * tips.x[k];
      tips.y[k] = y - scale * tips.y[k];
    }
    model("landscape", "cloud").data = tips;
    for (const name of gradients) {
      const [a, b] = [chosen[name][0][t], chosen[name][1][t]];
      model("landscape", name).data = state.arrows
        ? { x0: [x], y0: [y], x1: [x - scale * a], y1: [y - scale * b] } : { x0: [], y0: [], x1: [], y1: [] };
    }
  }

  function paint({ ink, colours, line }) {
    for (let i = 0; i < slots; i++) line("landscape", i, colours[i % colours.length], isChosen(i));
    const arrows = { batch_gradient: state.theme === "dark" ? "#ffd23f" : "#b00020", full_gradient: ink };
    gradients.forEach((name, i) => {
      line("norm", i, arrows[name], i === 0);
      model("landscape", `${name}-arrow`).line_color = arrows[name];
      model("landscape", `${name}-tip`).setv({ fill_color: arrows[name], line_color: arrows[name] });
      document.querySelector(`.mark.${name}`).style.color = arrows[name];
    });
    model("landscape", "clouds").glyph.fill_color = arrows.batch_gradient;
    document.querySelector(".mark.others").style.color = arrows.batch_gradient;
    for (const name of ["start", "minimizer"]) model("landscape", name).glyph.setv({ line_color: ink });
  }

  return {
    unpack, draw, moved, paint,
    switches: ["arrows", "others"],
    norms: (one) => gradients.map((name) => Array.from({ length: one.points }, (_, t) => norm(one[name], t))),
    tell: (one, t) => [`|batch gradient| ${figure(norm(one.batch_gradient, t))}`, `|full gradient| ${figure(norm(one.full_gradient, t))}`],
    state: (one, t) => ({ weights: one.weights.map((w) => w[t]) }),
  };
};
