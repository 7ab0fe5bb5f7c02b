// The dialog that shares a session: makes a link, and lists and ends those in force.

import { createShare, endShare, listShares } from "./api";
import { button, byId, make, setLabel, setText } from "./dom";
import { nameOf } from "./format";
import { authorized } from "./login";
import type { Session, Share } from "./messages";
import { untilText } from "./time";
import { SecretField } from "./secret-field";
import { fillSelect } from "./select-options";

/** How long a link may last, in seconds; empty: as long as the session's record. */
const LASTS: [string, string][] = [
  ["3600", "in 1 hour"],
  ["28800", "in 8 hours"],
  ["604800", "in 7 days"],
  ["", "when the session's record is removed"],
];

export class ShareDialog {
  private readonly dialog = byId<HTMLDialogElement>("share-dialog");
  private readonly error = byId("share-error");
  private readonly list = byId("share-list");
  private readonly send = byId<HTMLButtonElement>("share-send");
  private readonly writable = byId<HTMLInputElement>("share-rw");
  private readonly made = new SecretField("share-made");
  private id = "";

  constructor(closed: () => void) {
    byId("share-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.made.clear();
      closed();
    });
    for (const mode of ["ro", "rw"]) byId(`share-${mode}`).addEventListener("change", () => this.showMode());
    byId("share-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.create();
    });
  }

  open(session: Session): void {
    this.id = session.id;
    setText(byId("share-title"), `Share ${nameOf(session)}`);
    setText(this.error, "");
    fillSelect(byId<HTMLSelectElement>("share-expires"), LASTS, "3600");
    byId<HTMLInputElement>("share-ro").checked = true;
    this.made.clear();
    this.show([]);
    this.showMode();
    this.dialog.showModal();
    void this.attempt(() => this.refresh());
  }

  private showMode(): void {
    const text = this.writable.checked
      ? "Whoever has the link can run commands as the server's user. Give it only to those whom you would let use this keyboard."
      : "Whoever has the link sees what the terminal shows, and can type nothing.";
    setText(byId("share-hint"), text);
  }

  private async create(): Promise<void> {
    const { value } = byId<HTMLSelectElement>("share-expires");
    this.send.disabled = true;
    await this.attempt(async () => {
      const { url } = await authorized(() => createShare(this.id, this.writable.checked ? "rw" : "ro", value === "" ? null : Number(value)));
      this.made.show(url);
      await this.refresh();
    });
    this.send.disabled = false;
  }

  private async refresh(): Promise<void> {
    const { id } = this;
    const shares = await authorized(() => listShares(id));
    // The dialog may be open for another session by now.
    if (id === this.id) this.show(shares);
  }

  private show(shares: Share[]): void {
    byId("share-links").hidden = shares.length === 0;
    this.list.replaceChildren(...shares.map((share) => this.row(share)));
  }

  private row({ id, mode, created_by, expires_at }: Share): HTMLLIElement {
    const what = mode === "rw" ? "May type" : "Look only";
    const until = expires_at === null ? "ends with the session's record" : `ends ${untilText(expires_at)}`;
    const end = button("End", "danger", () => {
      void this.attempt(async () => {
        await authorized(() => endShare(this.id, id));
        // The link that is shown may be the one that has ended.
        this.made.clear();
        await this.refresh();
        this.send.focus();
      });
    });
    setLabel(end, `End the link: ${what}, ${until}`);
    return make("li", "", make("span", "", make("strong", "", what), ` · ${until} · by ${created_by}`), end);
  }

  private async attempt(act: () => Promise<void>): Promise<void> {
    try {
      await act();
      setText(this.error, "");
    } catch (problem) {
      setText(this.error, problem instanceof Error ? problem.message : String(problem));
    }
  }
}
