// The page with the tokens: who may come in, with which rights and until when.

import { listTokens, removeToken } from "./api";
import { button, byId, make, setLabel, setText } from "./dom";
import { formatLabels } from "./labels";
import { authorized } from "./login";
import type { Scope, Token } from "./messages";
import { confirmed } from "./panel";
import { SecretField } from "./secret-field";
import { untilText } from "./time";
import { makeToken } from "./token-dialog";

export class TokensPage {
  private readonly element = byId("tokens");
  private readonly list = byId("token-list");
  private readonly note = byId("tokens-note");
  private readonly add = byId<HTMLButtonElement>("token-new");
  private readonly made = new SecretField("token-made");

  /** `sessionName`: the name of a live session; null if it is unknown. */
  constructor(private readonly sessionName: (id: string) => string | null) {
    this.add.addEventListener("click", () => void this.create());
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  /** Shows or hides the page, instead of the terminal. */
  show(shown: boolean): void {
    this.element.hidden = !shown;
    byId("stage").hidden = shown;
    this.made.clear();
    setText(this.note, "");
    if (!shown) return this.list.replaceChildren();
    void this.refresh();
    this.add.focus();
  }

  private async refresh(): Promise<void> {
    try {
      const tokens = await authorized(listTokens);
      if (this.element.hidden) return;
      this.list.replaceChildren(...tokens.map((token) => this.row(token)));
      setText(this.note, tokens.length === 0 ? "There are no tokens." : "");
    } catch (error) {
      setText(this.note, error instanceof Error ? error.message : String(error));
    }
  }

  private row(token: Token): HTMLLIElement {
    const { name, role, created_by, created_at, expires_at } = token;
    const made = `made by ${created_by} on ${new Date(created_at).toLocaleDateString([], { dateStyle: "medium" })}`;
    const until = expires_at === null ? "never ends" : `ends ${untilText(expires_at)}`;
    const top = make("span", "token-top", make("strong", "", name), make("span", "label", role));
    const details = make("span", "hint", [this.scopeText(token.scope), made, until].join(" · "));
    const remove = button("Remove…", "danger", () => void this.remove(name));
    setLabel(remove, `Remove ${name}`);
    return make("li", "", make("span", "token-text", top, details), remove);
  }

  private scopeText(scope: Scope): string {
    if (scope === "all") return "all sessions";
    if (scope === "own") return "the sessions that it starts";
    if ("labels" in scope) return `sessions with ${formatLabels(scope.labels)}`;
    return scope.sessions.map((id) => this.sessionName(id) ?? `session ${id.slice(0, 13)}…`).join(", ");
  }

  private async create(): Promise<void> {
    const token = await makeToken();
    if (token === null) return this.add.focus();
    setText(byId("token-made-title"), `The token ${token.name}`);
    this.made.show(token.token);
    await this.refresh();
  }

  private async remove(name: string): Promise<void> {
    const text = "Whoever uses it is signed out within two seconds. It cannot be undone.";
    if (await confirmed(`Remove the token ${name}?`, text, "Remove")) {
      try {
        await authorized(() => removeToken(name));
        this.made.clear();
        await this.refresh();
      } catch (error) {
        setText(this.note, `${name} was not removed: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    this.add.focus();
  }
}
