// A link for viewers, and the same as a QR code.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Share = class {
  constructor() {
    const { find } = window.pp1;
    this.box = find("#pp1-share");
    this.link = find("#pp1-share-link");
    find("#pp1-copy").addEventListener("click", () => this.copy());
    this.box.addEventListener("beforetoggle", (event) => event.newState === "open" && this.fill());
  }

  fill() {
    const { find, write, request, attempt } = window.pp1;
    write("#pp1-copy", "Copy");
    return attempt(find("#pp1-share-error"), async () => {
      const page = window.pp1.url("/");
      const { link, qr, note } = await request("GET", `/api/share?page=${encodeURIComponent(page)}`);
      this.link.value = link;
      find("#pp1-qr").src = qr;
      write("#pp1-share-note", note);
    });
  }

  // Only secure pages may write to the clipboard; in others the link is selected, to be copied by hand.
  async copy() {
    this.link.select();
    try {
      await navigator.clipboard.writeText(this.link.value);
      window.pp1.write("#pp1-copy", "Copied");
    } catch {
      this.link.focus();
    }
  }
};
