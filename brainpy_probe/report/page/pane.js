"use strict";
// The three texts of a program. They are shown by textContent only.
const ROW = 17;
const PANES = ["eq", "ir", "hlo"];
const MISSING = { eq: "There are no equations.", ir: "There is no text.", hlo: "There is no optimised HLO." };

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function unpackAll(packed) {
  const texts = {};
  for (const kind of PANES) texts[kind] = packed[kind] ? await unpack(packed[kind]) : null;
  return texts;
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
    Object.assign(this, { text, cursor: -1 });
    for (const marked of [this.chosen, this.hovered, this.found]) marked.clear();
    this.rows.clear();
    this.root.replaceChildren();
    this.root.scrollTo(0, 0);
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
