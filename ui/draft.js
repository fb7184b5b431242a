// What is typed and not applied, kept in the tab: a reload brings it back.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.draft = {
  NAME: "pp1-draft",
  // The saved form, or null.
  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this.NAME));
    } catch {
      return null;
    }
  },
  save(form) {
    sessionStorage.setItem(this.NAME, JSON.stringify(form));
  },
  drop() {
    sessionStorage.removeItem(this.NAME);
  },
};
