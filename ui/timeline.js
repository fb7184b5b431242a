// The table of planned changes: edit, run on the server, import and export. plan.js shows what the server is running.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Timeline = class {
  static MAX_ROWS = 500;
  static GAP = 12; // chunks from the last entry to an added one
  static CUTS = ["soft", "hard", "recache"];

  // current(): the update that the form holds, or null.
  constructor(current) {
    const { find, attempt } = window.pp1;
    this.current = current;
    this.table = find("#pp1-entries");
    this.error = find("#pp1-timeline-error");
    this.file = find("#pp1-file");
    const on = (id, action) => find(id).addEventListener("click", () => attempt(this.error, action));
    on("#pp1-add-entry", () => this.addCurrent());
    on("#pp1-run", () => this.run());
    on("#pp1-clear", () => window.pp1.request("DELETE", "/api/timeline"));
    on("#pp1-import", () => this.file.click());
    on("#pp1-export", () => this.exportFile());
    on("#pp1-recording", () => this.loadRecording());
    this.file.addEventListener("change", () => attempt(this.error, () => this.importFile()));
    this.draw();
  }

  rows() {
    return [...this.table.children];
  }

  addCurrent() {
    const last = this.rows().at(-1);
    const chunk = last ? Number(last.querySelector(".chunk").value) + this.constructor.GAP : 0;
    this.addRow({ ...this.current(), chunk }).querySelector(".text").focus();
    this.draw();
  }

  // The table edits an entry's chunk, single prompt, steps and cut, and keeps its other fields.
  addRow(entry) {
    const { make, words } = window.pp1;
    const blend = Boolean(entry.prompts?.length);
    const others = [entry.seed === undefined ? "" : `seed ${entry.seed}`, entry.dropped ? `${entry.dropped} dropped` : ""];
    const row = make(
      "div",
      { className: "entry", role: "listitem" },
      make("input", { className: "chunk", type: "number", min: 0, step: 1, value: entry.chunk, "aria-label": "Chunk" }),
      make("input", {
        className: "text", type: "text", value: words.prompts(entry), readOnly: blend, "aria-label": "Prompt", maxLength: window.pp1.find("#pp1-prompt textarea").maxLength,
        placeholder: others.filter(Boolean).join(", ") || "no new prompt", title: blend ? "A blend can't be edited here" : "",
      }),
      make("input", { className: "steps", type: "number", min: 0, max: window.pp1.find("#pp1-steps").max, step: 1, value: entry.transition?.steps ?? 0, "aria-label": "Transition in chunks" }),
      make("select", { className: "cut", "aria-label": "Cut" }, ...this.constructor.CUTS.map((cut) => make("option", { value: cut }, cut))),
      make("button", { className: "remove", type: "button", "aria-label": "Remove entry" }, "×"),
    );
    if (others.some(Boolean) && words.prompts(entry)) row.append(make("small", {}, others.filter(Boolean).join(" · ")));
    row.entry = entry;
    row.querySelector(".cut").value = entry.cut ?? "soft";
    row.querySelector(".remove").addEventListener("click", () => {
      row.remove();
      this.draw();
    });
    this.table.append(row);
    return row;
  }

  draw() {
    const count = this.rows().length;
    window.pp1.find("#pp1-head").hidden = !count;
    for (const id of ["#pp1-run", "#pp1-export"]) window.pp1.find(id).disabled = !count;
    window.pp1.find("#pp1-add-entry").disabled = count >= this.constructor.MAX_ROWS;
  }

  readRow(row, index) {
    const { chunk: _, prompt: __, transition, cut: ___, ...kept } = row.entry;
    const whole = (name, what) => {
      const field = row.querySelector(name);
      if (!/^\d+$/.test(field.value)) throw new Error(`Entry ${index + 1}: ${what} is a whole number from 0.`);
      return Number(field.value);
    };
    const steps = whole(".steps", "a transition");
    const text = row.querySelector(".text").value.trim();
    const cut = row.querySelector(".cut").value;
    return {
      chunk: whole(".chunk", "a chunk"),
      ...kept,
      ...(text && !kept.prompts?.length && { prompt: text }),
      ...(steps > 0 && { transition: { ...transition, steps } }),
      ...(cut !== "soft" && { cut }),
    };
  }

  read() {
    return this.rows().map((row, index) => this.readRow(row, index)).sort((a, b) => a.chunk - b.chunk);
  }

  // Throws an error of one line if this is not a list of entries. The server checks the entries' content.
  show(entries) {
    const { MAX_ROWS } = this.constructor;
    if (!Array.isArray(entries)) throw new Error("This is not a timeline: a list of entries is needed.");
    if (entries.length > MAX_ROWS) throw new Error(`These are ${entries.length} entries; the table has room for ${MAX_ROWS}.`);
    const bad = entries.findIndex((entry) => !Number.isInteger(entry?.chunk) || entry.chunk < 0);
    if (bad >= 0) throw new Error(`Entry ${bad + 1} has no chunk, a whole number from 0.`);
    this.table.replaceChildren();
    entries.forEach((entry) => this.addRow(entry));
    this.draw();
  }

  // What a recording dropped is for a replay from the start; a running stream drops nothing on purpose.
  async run() {
    const entries = this.read().map(({ dropped: _, ...entry }) => entry);
    await window.pp1.request("PUT", "/api/timeline", { entries });
  }

  async loadRecording() {
    const { entries } = await window.pp1.request("GET", "/api/recording");
    this.show(entries);
  }

  exportFile() {
    const text = JSON.stringify({ entries: this.read() }, null, 2);
    window.pp1.save("timeline.json", new Blob([text], { type: "application/json" }));
  }

  async importFile() {
    const [file] = this.file.files;
    if (!file) return;
    const text = await file.text();
    this.file.value = ""; // the same file may be chosen again
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      throw new Error(`${file.name} is not JSON.`);
    }
    this.show(Array.isArray(data) ? data : data?.entries);
  }
};
