// Who one is and what one may do: a button in the header, and the dialog behind it, to sign out.

import { ApiError, logout } from "./api";
import { byId, setText, setTooltip } from "./dom";
import type { Principal } from "./messages";
import { mayText, type Rights, whoText } from "./rights";
import { replace } from "./route";
import { untilText } from "./time";

export class Account {
  private readonly button = byId<HTMLButtonElement>("account");
  private readonly dialog = byId<HTMLDialogElement>("account-dialog");

  constructor(private readonly callbacks: { closed(): void; settings(): void; trouble(text: string): void }) {
    this.button.addEventListener("click", () => this.open());
    byId("account-close").addEventListener("click", () => this.dialog.close());
    byId("account-out").addEventListener("click", () => void this.signOut());
    byId("account-settings").addEventListener("click", () => {
      this.dialog.close();
      this.callbacks.settings();
    });
    byId("account-tokens").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.callbacks.closed());
  }

  /** Shows whom the server takes this page for, and hides what they may not do. */
  show(principal: Principal, rights: Rights): void {
    const words = Object.entries(rights).filter(([, may]) => may);
    document.body.dataset["may"] = words.map(([word]) => word).join(" ");
    const { kind, expires_at } = principal;
    document.body.dataset["kind"] = kind;
    const until = expires_at === null ? "" : `until ${untilText(expires_at)}`;
    const who = whoText(principal);
    setText(byId("account-text"), kind === "share" && until !== "" ? `${who} · ${until}` : who);
    setTooltip(this.button, "Who you are, and sign out");
    setText(byId("account-title"), who);
    setText(byId("account-may"), mayText(principal));
    setText(byId("account-until"), until === "" ? "" : `This sign-in lasts ${until}.`);
    this.button.hidden = false;
  }

  open(): void {
    this.dialog.showModal();
  }

  async signOut(): Promise<void> {
    try {
      await logout();
    } catch (error) {
      if (error instanceof ApiError && error.unauthorized) return location.reload();
      this.dialog.close();
      return this.callbacks.trouble(`You may still be signed in: ${error instanceof Error ? error.message : String(error)}`);
    }
    // Nothing of the page stays for whoever comes next.
    replace("");
    location.reload();
  }
}
