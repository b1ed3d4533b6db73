// The page's own script, after the script of the panes. It loads nothing.
const DATA = JSON.parse(document.getElementById("data").textContent);

function press(buttons, isPressed) {
  for (const button of buttons) button.setAttribute("aria-pressed", isPressed(button));
}

// A program: its picture, costs and texts, and the selection in them.
class Part {
  constructor(root, data) {
    // The texts are those of the whole run ("run") or of one step of it ("step").
    Object.assign(this, { root, data, form: "run", shown: "", component: "", line: null });
    this.unpacking = new Map();
    this.within = new Set();
    this.panes = {};
    for (const box of root.querySelectorAll("[data-pane]")) {
      this.panes[box.dataset.pane] = new Pane(box, box.dataset.pane, this);
    }
    for (const element of root.querySelectorAll("[data-component]")) {
      element.addEventListener("click", () => this.toggle(element.dataset.component));
      element.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          this.toggle(element.dataset.component);
        }
        if (event.key === "Escape") this.clear();
      });
    }
    for (const button of root.querySelectorAll("button[data-kind]")) {
      button.addEventListener("click", () => this.kind(button.dataset.kind));
    }
    for (const button of root.querySelectorAll("button[data-form]")) {
      button.addEventListener("click", () => this.take(button.dataset.form));
    }
    this.search = root.querySelector("input[type=search]");
    this.said = root.querySelector("output");
    if (this.search) {
      this.search.addEventListener("input", () => this.find());
      this.search.addEventListener("keydown", (event) => {
        if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      });
    }
  }
  kind(name) {
    press(this.root.querySelectorAll("button[data-kind]"), (button) => button.dataset.kind === name);
    for (const picture of this.root.querySelectorAll(".costs div[data-kind]")) {
      picture.hidden = picture.dataset.kind !== name;
    }
  }
  // Show the texts of the chosen form, which are unpacked once.
  async load() {
    const { form } = this;
    if (!this.unpacking.has(form)) this.unpacking.set(form, unpackAll(this.data.forms[form]));
    const texts = await this.unpacking.get(form);
    if (this.form !== form || this.shown === form) return;
    Object.assign(this, { shown: form, hoveredLine: "" });
    for (const kind of PANES) this.panes[kind].show(texts[kind], MISSING[kind]);
    const { eq, ir, hlo } = this.panes;
    this.toEq = eq.text ? inverse(eq.text.links) : new Map();
    this.toHlo = hlo.text ? inverse(hlo.text.links) : new Map();
    this.closing = new Map();
    if (ir.text) ir.text.starts.forEach((start, number) => {
      if (start !== number) this.closing.set(start, number);
    });
  }
  // Show the texts of the whole run, or of one step. The lines change, the components do not.
  async take(form) {
    if (!Object.hasOwn(this.data.forms, form)) return;
    const { component } = this;
    Object.assign(this, { form, line: null });
    press(this.root.querySelectorAll("button[data-form]"), (button) => button.dataset.form === form);
    for (const note of this.root.querySelectorAll("[data-of]")) note.hidden = note.dataset.of !== form;
    await this.load();
    if (this.form !== form) return;
    await this.find();
    if (component) await this.chooseComponent(component);
    remember();
  }
  // The lines of each text that are about the same ops as one line of one text.
  counterparts(kind, number) {
    const text = this.panes[kind].text;
    const lines = kind === "ir" ? [text.starts[number]] : text.links[number];
    const sets = { eq: new Set(), ir: new Set(), hlo: new Set() };
    for (const line of lines) {
      sets.ir.add(line);
      if (this.closing.has(line)) sets.ir.add(this.closing.get(line));
      (this.toEq.get(line) || []).forEach((other) => sets.eq.add(other));
      (this.toHlo.get(line) || []).forEach((other) => sets.hlo.add(other));
    }
    if (kind !== "ir") sets[kind] = new Set([number]);
    return sets;
  }
  hover(pane, number) {
    if (this.hoveredLine === `${pane.kind}${number}`) return;
    this.hoveredLine = `${pane.kind}${number}`;
    const sets = number < 0 || !this.toHlo ? null : this.counterparts(pane.kind, number);
    for (const kind of PANES) {
      this.panes[kind].hovered = sets ? sets[kind] : new Set();
      this.panes[kind].later();
    }
  }
  choose(kind, number, from) {
    if (number < 0 || this.shown !== this.form || !this.panes[kind].text || number >= this.panes[kind].text.lines.length) return;
    const sets = this.counterparts(kind, number);
    const owner = this.panes[kind].text.owners[number];
    this.line = `${kind}:${number}`;
    this.mark(owner >= 0 ? this.data.components[owner] : "");
    for (const other of PANES) {
      const pane = this.panes[other];
      pane.chosen = sets[other];
      if (other === kind) pane.cursor = number;
      if (pane.text && pane !== from) {
        const first = sets[other].size ? this.best(other, sets) : this.first(pane);
        if (first >= 0) pane.reveal(first);
      }
      pane.draw();
    }
    if (from) this.panes[kind].reveal(number);
    remember();
  }
  // The first line of the component that is marked.
  first(pane) {
    const { owners, lines } = pane.text;
    return owners.findIndex((owner, number) => this.within.has(owner) && lines[number].trim());
  }
  // The counterpart to scroll to: among the lines of the op that gives the value, the one that is
  // linked to the fewest other lines.
  best(kind, sets) {
    const text = this.panes[kind].text;
    let numbers = [...sets[kind]];
    if (kind === "ir") {
      const own = numbers.filter((number) => this.within.has(text.owners[number]));
      return Math.max(...(own.length ? own : numbers));
    }
    if (sets.ir.size) {
      const last = this.best("ir", sets);
      const those = numbers.filter((number) => text.links[number].includes(last));
      if (those.length) numbers = those;
    }
    return numbers.reduce((a, b) => (text.links[b].length <= text.links[a].length ? b : a));
  }
  mark(name) {
    this.component = name;
    this.within = new Set();
    this.data.components.forEach((other, number) => {
      if (name && (other === name || other.startsWith(`${name}.`))) this.within.add(number);
    });
    const model = this.root.querySelector(".model");
    for (const element of this.root.querySelectorAll("[data-component]")) {
      const own = element.dataset.component;
      const is = own === name || (element.closest(".model") && name.startsWith(`${own}.`));
      element.classList.toggle("chosen", Boolean(name) && is);
    }
    if (model) for (const arrow of model.querySelectorAll(".arrow")) {
      const ends = [arrow.dataset.source, arrow.dataset.target];
      const touches = ends.some((end) => end === name || name.startsWith(`${end}.`));
      const isNode = [...model.querySelectorAll(".node.chosen")].length > 0;
      arrow.classList.toggle("dim", isNode && !touches);
      arrow.classList.toggle("touches", isNode && touches);
    }
  }
  toggle(name) {
    if (this.component === name && !this.line) this.clear();
    else this.chooseComponent(name);
  }
  async chooseComponent(name) {
    await this.load();
    this.line = null;
    this.mark(name);
    for (const kind of PANES) {
      const pane = this.panes[kind];
      pane.chosen = new Set();
      if (!pane.text) continue;
      const first = this.first(pane);
      if (first >= 0) pane.reveal(first);
      pane.draw();
    }
    remember();
  }
  clear() {
    this.line = null;
    this.mark("");
    for (const kind of PANES) {
      this.panes[kind].chosen = new Set();
      this.panes[kind].draw();
    }
    remember();
  }
  async find() {
    await this.load();
    const wanted = this.search.value.toLowerCase();
    this.matches = [];
    for (const kind of PANES) {
      const pane = this.panes[kind];
      pane.found = new Set();
      if (pane.text && wanted) pane.text.lines.forEach((line, number) => {
        if (line.toLowerCase().includes(wanted)) {
          pane.found.add(number);
          this.matches.push([kind, number]);
        }
      });
      if (pane.found.size) pane.reveal(Math.min(...pane.found));
      pane.draw();
    }
    this.match = -1;
    this.said.textContent = wanted ? `${this.matches.length} lines; Enter goes to the next` : "";
    remember();
  }
  next(step) {
    if (!this.matches || !this.matches.length) return;
    this.match = (this.match + step + this.matches.length) % this.matches.length;
    const [kind, number] = this.matches[this.match];
    this.said.textContent = `${this.match + 1} of ${this.matches.length}`;
    this.choose(kind, number, null);
    this.panes[kind].reveal(number);
  }
}

const parts = [...document.querySelectorAll(".program")].map(
  (root) => new Part(root, DATA.find((data) => data.number === Number(root.dataset.program))));
let current = parts[0];
let restoring = false;

function select(part) {
  current = part;
  for (const other of parts) other.root.hidden = other !== part;
  const choice = document.getElementById("program");
  if (choice) choice.value = part.data.number;
}

// The state of the page is in the URL's fragment, so that a place can be linked.
function remember() {
  if (restoring || !current) return;
  const words = new URLSearchParams();
  if (parts.length > 1) words.set("program", current.data.number);
  if (current.form !== "run") words.set("form", current.form);
  if (current.line) words.set("line", current.line);
  else if (current.component) words.set("component", current.component);
  if (current.search && current.search.value) words.set("search", current.search.value);
  const text = words.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : "#");
  } catch { /* a sandboxed page has no history */ }
}

const STATE = ["program", "form", "line", "component", "search"];

async function restore() {
  const words = new URLSearchParams(location.hash.slice(1));
  const wanted = parts.find((part) => String(part.data.number) === words.get("program")) || current;
  if (!wanted) return;
  restoring = true;
  select(wanted);
  const line = words.get("line");
  const component = words.get("component");
  const query = words.get("search");
  // A link to a section of the page leaves the texts as they are.
  const form = STATE.some((word) => words.has(word)) ? words.get("form") || "run" : wanted.form;
  if (form !== wanted.form) await wanted.take(form);
  if (line || component || query) await wanted.load();
  if (query && wanted.search) { wanted.search.value = query; await wanted.find(); }
  if (line && wanted.form === form) {
    const [kind, number] = line.split(":");
    if (PANES.includes(kind) && /^\d+$/.test(number)) {
      wanted.choose(kind, Number(number), null);
      wanted.panes[kind].reveal(Number(number));
      wanted.root.querySelector(".texts").scrollIntoView();
    }
  } else if (component && wanted.data.components.includes(component)) {
    await wanted.chooseComponent(component);
  }
  restoring = false;
}

document.querySelectorAll("table.sortable").forEach(sortable);
const choice = document.getElementById("program");
if (choice) choice.addEventListener("change", () => {
  select(parts.find((part) => part.data.number === Number(choice.value)));
  remember();
});
// The texts of a program are unpacked when they come into sight.
const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (entry.isIntersecting) parts.find((part) => part.root.contains(entry.target)).load();
}), { rootMargin: "300px" });
document.querySelectorAll(".texts").forEach((texts) => watcher.observe(texts));
addEventListener("hashchange", () => { if (!restoring) restore(); });
if (parts.length) select(parts[0]);
restore();
