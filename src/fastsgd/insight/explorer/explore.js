// Moves the figures: chosen runs, the step, the view. What a kind of page has of its own, the figure at the left, is
// `explorerKind` of plane.js or network.js. `window.fastsgdExplorer` tells what is shown.
(async () => {
  const parse = (id) => JSON.parse(document.getElementById(id).textContent);
  const get = (id) => document.getElementById(id);
  const data = parse("data");
  const items = parse("figures");
  const figures = {};
  for (const [name, item] of Object.entries(items)) {
    const views = await Bokeh.embed.embed_item(item);
    figures[name] = (views.roots ? [...views.roots][0] : [...views][0]).model;
  }
  const model = (figure, name) => figures[figure].document.get_model_by_name(name);
  const main = figures[data.main];
  const charts = Object.keys(figures).filter((name) => name !== data.main);

  // ---------------------------------------------------------------- recorded runs

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const unpacked = new Map();

  function run(b, r, m, s) {
    const [, rates, momenta, schedules] = data.choice_counts;
    const index = ((b * rates + r) * momenta + m) * schedules + s;
    if (!unpacked.has(index)) {
      const packed = data.runs[index];
      const one = { index, points: packed.points, diverged: packed.diverged, ...kind.unpack(packed) };
      for (const name of ["examples", "learning_rate", "excess"]) one[name] = floats(packed[name]);
      unpacked.set(index, one);
    }
    return unpacked.get(index);
  }

  // ---------------------------------------------------------------- state

  const middle = (count) => Math.floor(count / 2);
  const [batches, rates, momenta] = data.choice_counts;
  const slots = batches + (momenta > 1 ? 1 : 0);
  const speeds = [...get("speed").options].map((option) => Number(option.value));
  const state = {
    batch: middle(batches), rate: middle(rates), momentum: 0, schedule: 0,
    step: 0, playing: false, speed: 1, theme: "light",
    shown: Array.from({ length: slots }, () => true),
  };
  let runs = [];
  let chosen = null;
  const everyRun = () => runs.map((one, i) => ({ one, t: point(one), some: visible(i) }));

  const isChosen = (slot) => slot === state.batch;
  const visible = (slot) => state.shown[slot] || isChosen(slot);
  const point = (one) => Math.min(state.step, one.points - 1);
  const now = () => [chosen, point(chosen)];

  // ---------------------------------------------------------------- choices

  function choose() {
    const { batch, rate, momentum, schedule } = state;
    runs = Array.from({ length: batches }, (_, b) => run(b, rate, momentum, schedule));
    if (slots > batches) {
      const other = (momentum + 1) % momenta;
      runs.push(run(batch, rate, other, schedule));
      const name = data.momenta[other] > 0 ? `with momentum ${data.momenta[other]}` : "without momentum";
      document.querySelectorAll(".runs .name")[batches].textContent = name;
    }
    chosen = runs[batch];
    for (const id of ["batch", "rate", "momentum", "schedule"]) get(id).value = state[id];
    document.querySelectorAll(".runs label").forEach((label, i) => label.classList.toggle("chosen", isChosen(i)));
    drawCharts();
    paint();
    draw();
  }

  const range = (axis, low, high) => axis.setv({ start: low, end: high });
  const figure = (v) => (v === 0 ? "0" : Number(v).toPrecision(3).replace(/e\+?/, "e"));
  const kind = explorerKind({ data, state, slots, main, model, bytes, floats, figure, now, everyRun, isChosen });

  function logRange(axis, values, most = Infinity) {
    const kept = values.filter((v) => v > 0 && Number.isFinite(v));
    const high = Math.min(most, Math.max(...kept, 1e-30));
    const low = Math.max(Math.min(...kept, high / 10), high * 1e-7);
    setLogRange(axis, low / 1.4, high * 1.4);
  }

  function setLogRange(axis, low, high) {
    range(axis, low, high);
    for (const one of Object.values(figures)) {
      const sides = [[one.x_range, one.below], [one.y_range, one.left]].filter(([of]) => of === axis);
      for (const side of sides.flatMap(([, found]) => [...found])) {
        const ticks = logTicks(low, high);
        side.major_label_overrides = new Map(ticks.map((v) => [v, tickLabel(v)]));
        side.ticker.ticks = ticks;
      }
    }
  }

  // Three to six ticks of a logarithmic axis, however short it is: powers of ten, else a few of each, else at equal distances.
  function logTicks(low, high) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const exponents = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const within = (digits) => exponents.flatMap((e) => digits.map((d) => Number(`${d}e${e}`))).filter((v) => v >= low && v <= high);
    const powers = within([1]);
    if (powers.length > 6) return powers.filter((_, i) => (powers.length - 1 - i) % Math.ceil(powers.length / 6) === 0);
    for (const digits of [[1], [1, 3], [1, 2, 5]]) if (within(digits).length > 2) return within(digits);
    const size = 10 ** Math.floor(Math.log10((high - low) / 3));
    const step = [5, 2, 1].map((d) => d * size).find((d) => d <= (high - low) / 3);
    const start = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - start + 1 }, (_, i) => Number(((start + i) * step).toPrecision(6)));
  }

  function tickLabel(v) {
    if (v >= 1e-3 && v < 1e5) return String(v);
    const [digits, exponent] = v.toExponential().split("e");
    const raised = [...String(Number(exponent))].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] || "⁻").join("");
    return (digits === "1" ? "" : `${digits} · `) + `10${raised}`;
  }

  function drawCharts() {
    const least = 1e-7 * chosen.excess[0];
    const all = []; // what the axes contain: peaks, and the beginning of a line that grows without bound
    runs.forEach((one, i) => {
      const y = Array.from(one.excess, (v) => (v > least ? v : NaN)); // rounding lies below
      const x = Array.from(y.keys());
      const some = visible(i);
      model("loss-steps", `path${i}`).data = some ? { x, y } : { x: [], y: [] };
      model("loss-examples", `path${i}`).data = some
        ? { x: Array.from(one.examples.slice(1)), y: y.slice(1) } : { x: [], y: [] };
      const most = (one.diverged ? 10 : 1000) * chosen.excess[0];
      if (some) all.push(...y.map((v) => Math.min(v, most)));
    });
    logRange(figures["loss-steps"].y_range, all);
    logRange(figures["loss-examples"].y_range, all);
    const drawn = runs.filter((_, i) => visible(i));
    setLogRange(figures["loss-examples"].x_range,
      Math.min(...drawn.map((one) => one.examples[1] || 1)) / 1.2,
      Math.max(...drawn.map((one) => one.examples[one.points - 1]), 2) * 1.2);
    const x = Array.from(chosen.learning_rate.keys());
    model("rate-chart", "path0").data = { x, y: Array.from(chosen.learning_rate) };
    range(figures["rate-chart"].y_range, 0, 1.1 * Math.max(...chosen.learning_rate));
    const norms = kind.norms(chosen);
    norms.forEach((y, i) => { model("norm", `path${i}`).data = { x, y: y.map((v) => v || NaN) }; });
    logRange(figures.norm.y_range, norms.flat(), (chosen.diverged ? 100 : 1000) * Math.max(...norms.map((y) => y[0])));
  }

  // ---------------------------------------------------------------- the step

  function draw() {
    runs.forEach((one, i) => {
      const t = point(one);
      const some = visible(i);
      const none = { x: [], y: [] };
      const loss = model("loss-steps", `path${i}`).data;
      model("loss-steps", `head${i}`).data = some ? { x: [t], y: [loss.y[t]] } : none;
      model("loss-examples", `head${i}`).data = some && t > 0 ? { x: [one.examples[t]], y: [loss.y[t]] } : none;
    });
    for (const name of charts) {
      const mark = model(name, "now");
      if (mark) mark.location = state.step;
    }
    const t = point(chosen);
    model("rate-chart", "head0").data = { x: [t], y: [chosen.learning_rate[t]] };
    for (let i = 0; model("norm", `path${i}`); i++) {
      model("norm", `head${i}`).data = { x: [t], y: [model("norm", `path${i}`).data.y[t]] };
    }
    kind.draw();
    tell();
  }

  function tell() {
    const t = point(chosen);
    const ended = chosen.diverged && state.step >= chosen.points - 1;
    const parts = [
      ended ? `diverged after ${t} steps` : `step ${state.step} of ${data.steps}`,
      `${chosen.examples[t].toLocaleString("en")} examples (${figure(chosen.examples[t] / data.n_rows)} epochs)`,
      `loss ${figure(data.minimum + chosen.excess[t])}`, `rate ${figure(chosen.learning_rate[t])}`,
      ...kind.tell(chosen, t),
    ];
    const text = parts.join(" · ");
    get("readout").textContent = text;
    get("seek").value = state.step;
    get("seek").setAttribute("aria-valuetext", parts[0]);
    if (!state.playing) get("said").textContent = parts.slice(0, 3).join(", ");
  }

  function seek(step) {
    state.step = Math.max(0, Math.min(data.steps, Math.round(step)));
    draw();
  }

  // ---------------------------------------------------------------- playback

  const PACE = 15; // steps a second at 1x
  let due = 0;
  let before = 0;

  function tick(now) {
    if (!state.playing) return;
    due += ((now - before) / 1000) * PACE * state.speed;
    before = now;
    const whole = Math.floor(due);
    if (whole > 0) {
      due -= whole;
      seek(state.step + whole);
      if (state.step === data.steps) return play(false);
    }
    requestAnimationFrame(tick);
  }

  function play(on) {
    state.playing = on;
    get("play").textContent = on ? "Pause" : "Play";
    if (on) {
      if (state.step === data.steps) seek(0);
      [due, before] = [0, performance.now()];
      requestAnimationFrame(tick);
    } else tell();
  }

  function speed(value) {
    state.speed = value;
    get("speed").value = String(value);
  }

  const faster = (by) => speed(speeds[Math.max(0, Math.min(speeds.length - 1, speeds.indexOf(state.speed) + by))]);

  // ---------------------------------------------------------------- view

  let home = true;

  function fit() {
    const [[x0, x1], [y0, y1]] = data.view;
    let [wide, high] = [x1 - x0, y1 - y0];
    const [w, h] = [main.inner_width, main.inner_height];
    if (data.equal_units && w > 0 && h > 0) {
      const unit = Math.max(wide / w, high / h);
      [wide, high] = [unit * w, unit * h];
    }
    range(main.x_range, (x0 + x1 - wide) / 2, (x0 + x1 + wide) / 2);
    range(main.y_range, (y0 + y1 - high) / 2, (y0 + y1 + high) / 2);
    home = true;
    kind.moved();
  }

  function view(factor, right = 0, up = 0) {
    for (const [axis, by] of [[main.x_range, right], [main.y_range, up]]) {
      const half = (axis.end - axis.start) / 2;
      const centre = (axis.start + axis.end) / 2 + by * half;
      range(axis, centre - half * factor, centre + half * factor);
    }
    home = false;
    kind.moved();
  }

  function resized() {
    const [x, y] = [main.x_range, main.y_range];
    if (home) return fit();
    if (!data.equal_units || !(main.inner_width > 0)) return;
    const half = ((x.end - x.start) / 2) * (main.inner_height / main.inner_width);
    const centre = (y.start + y.end) / 2;
    range(y, centre - half, centre + half);
  }

  // Bokeh lays its figures out in the frame after, and then knows their size.
  new ResizeObserver(() => requestAnimationFrame(() => requestAnimationFrame(resized))).observe(get(data.main));
  let waits = false;
  for (const axis of [main.x_range, main.y_range]) {
    axis.change.connect(() => {
      if (waits) return;
      waits = true;
      requestAnimationFrame(() => { waits = false; kind.moved(); });
    });
  }
  get(data.main).addEventListener("pointerdown", () => { home = false; });
  get(data.main).addEventListener("wheel", () => { home = false; });

  // ---------------------------------------------------------------- colours

  function paint() {
    document.documentElement.dataset.theme = state.theme;
    const css = getComputedStyle(document.documentElement);
    const [panel, ink, soft, edge] = ["--panel", "--ink", "--soft", "--edge"].map((name) => css.getPropertyValue(name).trim());
    const colours = data.colours[state.theme];
    for (const one of Object.values(figures)) {
      one.setv({ background_fill_color: panel, border_fill_color: null, outline_line_color: edge });
      for (const axis of [...one.below, ...one.left]) {
        axis.setv({
          axis_label_text_color: ink, major_label_text_color: soft, axis_line_color: edge, axis_label_text_font_style: "normal",
          major_tick_line_color: edge, minor_tick_line_color: null, axis_label_text_font_size: "13px", major_label_text_font_size: "12px",
        });
      }
      for (const grid of one.center) if (grid.type === "Grid") grid.setv({ grid_line_color: edge, grid_line_alpha: one === main ? 0 : 0.35 });
    }
    const line = (name, i, colour, bold) => {
      model(name, `line${i}`).glyph.setv({ line_color: colour, line_width: bold ? 3 : 1.8, line_alpha: bold ? 1 : 0.75 });
      model(name, `dot${i}`).glyph.setv({ fill_color: colour, line_color: panel });
    };
    for (let i = 0; i < slots; i++) {
      for (const name of ["loss-steps", "loss-examples"]) line(name, i, colours[i % colours.length], isChosen(i));
      document.querySelectorAll(".swatch line")[i].style.stroke = colours[i % colours.length];
    }
    line("rate-chart", 0, colours[state.batch % colours.length], true);
    kind.paint({ ink, panel, colours, line });
    for (const name of charts) { const mark = model(name, "now"); if (mark) mark.line_color = soft; }
    const dark = state.theme === "dark";
    get("theme").textContent = dark ? "Light" : "Dark";
    get("theme").setAttribute("aria-pressed", String(dark));
  }

  const prefers = matchMedia("(prefers-color-scheme: dark)");
  let followed = true;
  const follow = () => { if (followed) { state.theme = prefers.matches ? "dark" : "light"; paint(); } };

  // ---------------------------------------------------------------- controls

  const press = (id, act) => get(id).addEventListener("click", act);
  press("first", () => seek(0));
  press("back", () => seek(state.step - 1));
  press("play", () => play(!state.playing));
  press("forward", () => seek(state.step + 1));
  press("last", () => seek(data.steps));
  press("zoom-in", () => view(0.7));
  press("zoom-out", () => view(1 / 0.7));
  press("reset", fit);
  press("theme", () => { followed = false; state.theme = state.theme === "dark" ? "light" : "dark"; paint(); });
  press("help", () => { get("keys").hidden = !get("keys").hidden; get("help").setAttribute("aria-expanded", String(!get("keys").hidden)); });
  get("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
  get("speed").addEventListener("change", (event) => speed(Number(event.target.value)));
  for (const id of ["batch", "rate", "momentum", "schedule"]) {
    get(id).addEventListener("change", (event) => { state[id] = Number(event.target.value); choose(); });
  }
  for (const id of kind.switches) {
    state[id] = true;
    get(id).addEventListener("change", (event) => { state[id] = event.target.checked; kind.moved(); });
  }
  document.querySelectorAll(".runs input").forEach((box, i) => box.addEventListener("change", () => {
    state.shown[i] = box.checked;
    drawCharts();
    draw();
  }));
  prefers.addEventListener("change", follow);

  const keys = {
    " ": () => play(!state.playing), ArrowLeft: () => seek(state.step - 1), ArrowRight: () => seek(state.step + 1),
    Home: () => seek(0), End: () => seek(data.steps), "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1),
    i: () => view(0.7), o: () => view(1 / 0.7), r: fit,
  };
  const pans = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const within = event.target.tagName === "BUTTON" || event.target.type === "checkbox";
    if (event.key === " " && within) return; // presses the button itself
    const act = event.shiftKey && pans[event.key] ? () => view(1, ...pans[event.key]) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // ---------------------------------------------------------------- begin

  // A page that has this one in a frame names a run and a step behind "#", says its theme, and hears how high this one is.
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const id of ["batch", "rate", "momentum", "schedule", "step"]) {
    const most = id === "step" ? data.steps : get(id).options.length - 1;
    const value = Number.parseInt(asked.get(id), 10);
    if (value >= 0 && value <= most) state[id] = value;
  }
  window.addEventListener("message", (event) => {
    const theme = event.source === window.parent && event.data && event.data.fastsgdTheme;
    if (theme !== "dark" && theme !== "light") return;
    [followed, state.theme] = [false, theme];
    paint();
  });
  if (window.parent !== window) {
    const tellHeight = () => window.parent.postMessage({ fastsgdHeight: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
    new ResizeObserver(tellHeight).observe(document.body);
  }

  state.theme = prefers.matches ? "dark" : "light";
  choose();
  fit();
  window.fastsgdExplorer = {
    get state() {
      const t = point(chosen);
      return {
        ...state, steps: data.steps, run: chosen.index, ...kind.state(chosen, t),
        points: chosen.points, diverged: chosen.diverged,
        view: [main.x_range.start, main.x_range.end, main.y_range.start, main.y_range.end],
      };
    },
    model,
    figures,
    loaded: performance.now(),
  };
})();
