"use strict";
// The page's own script. Texts are shown by textContent only, and nothing is loaded.
const DATA = JSON.parse(document.getElementById("data").textContent);
const ROW = 17;
const PANES = ["eq", "ir", "hlo"];

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function inverse(links) {
  const found = new Map();
  links.forEach((lines, number) => lines.forEach((line) => {
    if (!found.has(line)) found.set(line, []);
    found.get(line).push(number);
  }));
  return found;
}

// One scrolling text. Only the rows in sight are in the document.
class Pane {
  constructor(root, kind, part) {
    Object.assign(this, { root, kind, part, text: null, cursor: -1 });
    this.chosen = new Set();
    this.hovered = new Set();
    this.found = new Set();
    this.rows = new Map();
    root.addEventListener("scroll", () => this.later());
    root.addEventListener("mousemove", (event) => part.hover(this, this.at(event)));
    root.addEventListener("mouseleave", () => part.hover(this, -1));
    root.addEventListener("click", (event) => part.choose(kind, this.at(event), this));
    root.addEventListener("keydown", (event) => this.key(event));
  }
  show(text, why) {
    this.text = text;
    this.root.replaceChildren();
    if (!text) {
      const empty = document.createElement("p");
      empty.className = "empty";
      empty.textContent = why;
      this.root.append(empty);
      return;
    }
    const longest = text.lines.reduce((most, line) => Math.max(most, line.length), 0);
    this.space = document.createElement("div");
    this.space.className = "space";
    this.space.style.height = `${text.lines.length * ROW}px`;
    this.space.style.width = `${longest + 4}ch`;
    this.root.append(this.space);
    this.rows.clear();
    this.draw();
  }
  at(event) {
    const row = event.target.closest(".row");
    return row ? Number(row.dataset.n) : -1;
  }
  later() {
    if (!this.waiting) {
      this.waiting = true;
      requestAnimationFrame(() => { this.waiting = false; this.draw(); });
    }
  }
  draw() {
    if (!this.text) return;
    const first = Math.max(0, Math.floor(this.root.scrollTop / ROW) - 20);
    const last = Math.min(this.text.lines.length, first + Math.ceil(this.root.clientHeight / ROW) + 40);
    for (const [number, row] of this.rows) {
      if (number < first || number >= last) { row.remove(); this.rows.delete(number); }
    }
    const { components, colours } = this.part.data;
    for (let number = first; number < last; number += 1) {
      let row = this.rows.get(number);
      const owner = this.text.owners[number];
      if (!row) {
        row = document.createElement("div");
        row.dataset.n = number;
        row.setAttribute("role", "option");
        row.style.top = `${number * ROW}px`;
        if (owner >= 0) {
          row.style.setProperty("--c", colours[owner]);
          row.title = components[owner];
        }
        row.textContent = this.text.lines[number] || " ";
        this.rows.set(number, row);
        this.space.append(row);
      }
      const classes = ["row"];
      if (this.kind === "eq" && this.text.lines[number].trimStart().startsWith("#")) classes.push("note-row");
      if (owner >= 0 && this.part.within.has(owner)) classes.push("part");
      if (this.hovered.has(number)) classes.push("hover");
      if (this.chosen.has(number)) classes.push("chosen");
      if (this.found.has(number)) classes.push("found");
      row.className = classes.join(" ");
      row.setAttribute("aria-selected", this.chosen.has(number));
    }
  }
  reveal(number) {
    const top = number * ROW;
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop + ROW || top > scrollTop + clientHeight - 3 * ROW) {
      this.root.scrollTop = Math.max(0, top - clientHeight / 3);
    }
    this.draw();
  }
  key(event) {
    if (!this.text) return;
    const page = Math.floor(this.root.clientHeight / ROW);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    if (event.key === "Escape") {
      this.part.clear();
    } else if (event.key in steps) {
      const next = Math.min(this.text.lines.length - 1, Math.max(0, this.cursor + steps[event.key]));
      this.part.choose(this.kind, next, this);
    } else {
      return;
    }
    event.preventDefault();
  }
}

// A program: its picture, costs and texts, and what is chosen in them.
class Part {
  constructor(root, data) {
    Object.assign(this, { root, data, loaded: false, component: "", line: null });
    this.within = new Set();
    this.panes = {};
    for (const box of root.querySelectorAll("[data-pane]")) {
      this.panes[box.dataset.pane] = new Pane(box, box.dataset.pane, this);
    }
    for (const element of root.querySelectorAll("[data-component]")) {
      element.addEventListener("click", () => this.chooseComponent(element.dataset.component));
      element.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          this.chooseComponent(element.dataset.component);
        }
        if (event.key === "Escape") this.clear();
      });
    }
    for (const button of root.querySelectorAll(".switch button")) {
      button.addEventListener("click", () => this.kind(button.dataset.kind));
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
    for (const button of this.root.querySelectorAll(".switch button")) {
      button.setAttribute("aria-pressed", button.dataset.kind === name);
    }
    for (const picture of this.root.querySelectorAll(".costs div[data-kind]")) {
      picture.hidden = picture.dataset.kind !== name;
    }
  }
  load() {
    this.loading ||= this.read();
    return this.loading;
  }
  async read() {
    const why = { eq: "There are no equations.", ir: "There is no text.", hlo: "There is no optimised HLO." };
    for (const kind of PANES) {
      const packed = this.data.texts[kind];
      const pane = this.panes[kind];
      if (pane) pane.show(packed ? await unpack(packed) : null, why[kind]);
    }
    const { eq, ir, hlo } = this.panes;
    this.toEq = eq.text ? inverse(eq.text.links) : new Map();
    this.toHlo = hlo.text ? inverse(hlo.text.links) : new Map();
    this.closing = new Map();
    if (ir.text) ir.text.starts.forEach((start, number) => {
      if (start !== number) this.closing.set(start, number);
    });
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
    if (number < 0 || !this.panes[kind].text || number >= this.panes[kind].text.lines.length) return;
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
  // The counterpart to scroll to: the one that is about the fewest other lines.
  best(kind, sets) {
    const text = this.panes[kind].text;
    const numbers = [...sets[kind]];
    if (kind === "ir") {
      const own = numbers.filter((number) => this.within.has(text.owners[number]));
      return Math.max(...(own.length ? own : numbers));
    }
    return numbers.reduce((a, b) => (text.links[b].length < text.links[a].length ? b : a));
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
  async chooseComponent(name) {
    await this.load();
    if (this.component === name && !this.line) { this.clear(); return; }
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
  if (current.line) words.set("line", current.line);
  else if (current.component) words.set("component", current.component);
  if (current.search && current.search.value) words.set("search", current.search.value);
  const text = words.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : "#");
  } catch { /* a sandboxed page has no history */ }
}

async function restore() {
  const words = new URLSearchParams(location.hash.slice(1));
  const wanted = parts.find((part) => String(part.data.number) === words.get("program")) || current;
  if (!wanted) return;
  restoring = true;
  select(wanted);
  const line = words.get("line");
  const component = words.get("component");
  const query = words.get("search");
  if (line || component || query) await wanted.load();
  if (query && wanted.search) { wanted.search.value = query; await wanted.find(); }
  if (line) {
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
