// A network on two features: its probability over the plane, and the rows with the norms of their gradients.
const explorerKind = ({ data, state, main, model, bytes, floats, figure, now }) => {
  const { sizes, side } = data;
  const layers = sizes.length - 1;
  const [features, second] = [floats(data.features), bytes(data.second)];
  const [rows1, rows2] = [0, 1].map((j) => features.filter((_, i) => i % 2 === j));
  const orders = new Uint16Array(bytes(data.orders).buffer);
  const classes = [0, 1].map((k) => [...second.keys()].filter((i) => second[i] === k));

  function unpack(packed) {
    return {
      batch_size: packed.batch_size,
      weights: new Int16Array(bytes(packed.weights).buffer),
      row_norms: bytes(packed.row_norms),
      ...Object.fromEntries(["weight_largest", "row_largest", "batch_norms", "full_norms"].map((name) => [name, floats(packed[name])])),
    };
  }

  // Parameters are fractions of the largest of their step.
  function weights(one, t) {
    const count = one.weights.length / one.points;
    return Float64Array.from(one.weights.subarray(t * count, (t + 1) * count), (v) => (v * one.weight_largest[t]) / 32767);
  }

  // Norms of rows too; roots are kept, so that small ones are not 0.
  const rowNorm = (one, t, i) => one.row_largest[t] * (one.row_norms[t * data.n_rows + i] / 255) ** 2;

  function batchRows(one, t) {
    if (one.batch_size === data.n_rows) return [...second.keys()];
    const first = one.examples[t];
    const end = Math.min(first + one.batch_size, (Math.floor(first / data.n_rows) + 1) * data.n_rows);
    return Array.from(orders.subarray(first, end));
  }

  // ---------------------------------------------------------------- the network

  const FUNCTIONS = { identity: (z) => z, logistic: (z) => 1 / (1 + Math.exp(-z)), tanh: Math.tanh, relu: (z) => Math.max(z, 0) };
  const activation = FUNCTIONS[data.activation];

  // The score z of the output at a point, by parameters that lie as those of fastsgd.network.Network.
  function scorer(theta) {
    const buffers = sizes.map((size) => new Float64Array(size));
    return (x1, x2) => {
      buffers[0][0] = (x1 - data.offset[0]) * data.scale[0];
      buffers[0][1] = (x2 - data.offset[1]) * data.scale[1];
      let at = 0;
      for (let l = 0; l < layers; l++) {
        const [from, to] = [buffers[l], buffers[l + 1]];
        const [inputs, outputs] = [from.length, to.length];
        for (let k = 0; k < outputs; k++) to[k] = theta[at + inputs * outputs + k];
        for (let j = 0; j < inputs; j++) for (let k = 0; k < outputs; k++) to[k] += from[j] * theta[at + j * outputs + k];
        if (l < layers - 1) for (let k = 0; k < outputs; k++) to[k] = activation(to[k]);
        at += (inputs + 1) * outputs;
      }
      return buffers[layers][0];
    };
  }

  // ---------------------------------------------------------------- the figure

  const scores = new Float64Array(side * side);
  const pixels = model("regions", "image").data.image[0];
  const [Pixels, shape] = [pixels.constructor, pixels.shape];

  // Bokeh shades an array anew only if it is another one.
  function drawRegions() {
    const score = scorer(weights(...now()));
    const [x, y] = [main.x_range.start, main.y_range.start];
    const [dw, dh] = [main.x_range.end - x, main.y_range.end - y];
    for (let i = 0; i < side; i++) {
      for (let j = 0; j < side; j++) {
        const z = score(x + (dw * (j + 0.5)) / side, y + (dh * (i + 0.5)) / side);
        scores[i * side + j] = z;
        pixels[i * side + j] = Math.round(255 / (1 + Math.exp(-z)));
      }
    }
    model("regions", "image").data = { image: [new Pixels(pixels, shape)], x: [x], y: [y], dw: [dw], dh: [dh] };
    model("regions", "boundary").data = boundary((j) => x + (dw * (j + 0.5)) / side, (i) => y + (dh * (i + 0.5)) / side);
  }

  // Where the score is 0: in each triangle of the grid the line between two of its edges.
  function boundary(xOf, yOf) {
    const lines = { x0: [], y0: [], x1: [], y1: [] };
    const crossing = ([i, j], [k, l]) => {
      const [a, b] = [scores[i * side + j], scores[k * side + l]];
      if (a > 0 === b > 0) return null;
      const part = a / (a - b);
      return [xOf(j + part * (l - j)), yOf(i + part * (k - i))];
    };
    const triangle = (p, q, r) => {
      const ends = [crossing(p, q), crossing(q, r), crossing(r, p)].filter((end) => end);
      if (ends.length < 2) return;
      lines.x0.push(ends[0][0]); lines.y0.push(ends[0][1]);
      lines.x1.push(ends[1][0]); lines.y1.push(ends[1][1]);
    };
    for (let i = 0; i + 1 < side; i++) {
      for (let j = 0; j + 1 < side; j++) {
        triangle([i, j], [i, j + 1], [i + 1, j]);
        triangle([i + 1, j + 1], [i, j + 1], [i + 1, j]);
      }
    }
    return lines;
  }

  // The area of a mark is the norm of its row's gradient, by the largest at the start.
  function diameter(one, t, i) {
    if (!state.sizes) return 9;
    return Math.max(5, Math.min(34, 20 * Math.sqrt(rowNorm(one, t, i) / (one.row_largest[0] || 1))));
  }

  function drawRows() {
    const [one, t] = now();
    const columns = (numbers, more) => ({
      x: numbers.map((i) => rows1[i]), y: numbers.map((i) => rows2[i]), row: numbers,
      size: numbers.map((i) => diameter(one, t, i) + more),
    });
    classes.forEach((numbers, k) => { model("regions", `class${k}`).data = columns(numbers, 0); });
    model("regions", "batch").data = columns(state.rings ? batchRows(one, t) : [], 6);
  }

  function moved() {
    drawRegions();
    drawRows();
  }

  // ---------------------------------------------------------------- colours

  const mixed = (colour, paper, part) => {
    const parts = [colour, paper].map((text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)));
    return "#" + [0, 1, 2].map((i) => Math.round(part * parts[0][i] + (1 - part) * parts[1][i]).toString(16).padStart(2, "0")).join("");
  };

  function paint({ ink, panel, line }) {
    const colours = data.class_colours[state.theme];
    const shades = Array.from({ length: 256 }, (_, i) => mixed(colours[i < 128 ? 0 : 1], panel, 0.08 + 0.5 * Math.abs(i / 127.5 - 1)));
    model("regions", "shades").palette = shades;
    document.querySelector(".bar").style.backgroundImage = `linear-gradient(to right, ${shades[0]}, ${shades[127]}, ${shades[255]})`;
    [0, 1].forEach((k) => {
      model("regions", `rows${k}`).glyph.setv({ fill_color: colours[k], line_color: panel });
      document.querySelector(`.mark.class${k}`).style.color = colours[k];
    });
    model("regions", "rings-drawn").glyph.setv({ line_color: ink });
    model("regions", "boundary-line").glyph.setv({ line_color: ink });
    for (let l = 0; l < layers; l++) {
      const colour = data.layer_colours[state.theme][l];
      line("norm", l, colour, true);
      model("norm", `line${l}`).glyph.line_width = 2.2;
      line("norm", layers + l, colour, false);
      model("norm", `line${layers + l}`).glyph.setv({ line_width: 1.3, line_alpha: 0.6 });
      document.querySelector(`.mark.layer${l}`).style.color = colour;
    }
  }

  const total = (norms, t) => Math.hypot(...norms.subarray(t * layers, (t + 1) * layers));

  function tell(one, t) {
    const score = scorer(weights(one, t));
    const wrong = [...second.keys()].filter((i) => score(rows1[i], rows2[i]) > 0 !== second[i] > 0).length;
    return [`${wrong} of ${data.n_rows} rows on the wrong side`, `|batch gradient| ${figure(total(one.batch_norms, t))}`, `|full gradient| ${figure(total(one.full_norms, t))}`];
  }

  return {
    unpack, moved, paint, tell,
    draw: moved,
    switches: ["rings", "sizes"],
    norms: (one) => Array.from({ length: 2 * layers }, (_, i) =>
      Array.from({ length: one.points }, (_, t) => (i < layers ? one.full_norms : one.batch_norms)[t * layers + (i % layers)])),
    state: (one, t) => ({ weights: Array.from(weights(one, t)) }),
  };
};
