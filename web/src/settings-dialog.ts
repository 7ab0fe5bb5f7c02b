// The dialog with the settings. Every change is in force at once, so that one sees what it does.

import { byId, make, setText } from "./dom";
import { fillSelect } from "./select-options";
import { type Bell, CONTRASTS, type CursorShape, FOLLOW_SYSTEM, FONT_SIZE_MAX, FONT_SIZE_MIN, IMPORTED, SCROLLBACK_MAX, settings } from "./settings";
import { chosenColours } from "./theme";
import { importTheme } from "./theme-import";
import { THEMES } from "./themes";

const CURSORS: [CursorShape, string][] = [
  ["block", "block"],
  ["bar", "bar"],
  ["underline", "underline"],
];
const CONTRAST_TEXTS = ["the colours as they are", "at least 4.5 to 1", "at least 7 to 1"];
const BELLS: [Bell, string][] = [
  ["off", "off"],
  ["visual", "a flash"],
  ["sound", "a tone"],
];

/** The longest theme file that is read, in bytes. Themes have a tenth of this. */
const THEME_FILE_MAX = 1 << 20;

const field = (id: string) => byId<HTMLInputElement>(`settings-${id}`);
const choice = (id: string) => byId<HTMLSelectElement>(`settings-${id}`);

export class SettingsDialog {
  private readonly dialog = byId<HTMLDialogElement>("settings");
  private readonly error = byId("settings-error");
  private readonly sample = byId("settings-sample");
  private readonly file = field("file");
  /** Lines of scrollback that the server keeps; null: it has not said. */
  private serverLines: number | null = null;

  constructor(private readonly closed: () => void) {
    field("font").addEventListener("input", () => settings.change({ font: field("font").value }));
    field("size").addEventListener("input", () => {
      // The first digit of "14" is no size that anybody wants.
      if (field("size").validity.valid) settings.change({ fontSize: numberIn(field("size")) });
    });
    choice("theme").addEventListener("change", () => settings.change({ theme: choice("theme").value }));
    choice("contrast").addEventListener("change", () => settings.change({ contrast: Number(choice("contrast").value) || null }));
    choice("cursor").addEventListener("change", () => settings.change({ cursor: choice("cursor").value as CursorShape }));
    field("blink").addEventListener("change", () => settings.change({ cursorBlinks: field("blink").checked }));
    field("scrollback").addEventListener("change", () => {
      settings.change({ scrollback: numberIn(field("scrollback")) });
      this.fill();
    });
    field("copy").addEventListener("change", () => settings.change({ copyOnSelect: field("copy").checked }));
    choice("bell").addEventListener("change", () => settings.change({ bell: choice("bell").value as Bell }));
    byId("settings-import").addEventListener("click", () => this.file.click());
    this.file.addEventListener("change", () => void this.import());
    byId("settings-reset").addEventListener("click", () => {
      settings.reset();
      this.fill();
    });
    byId("settings-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.closed());
    settings.addEventListener("change", () => this.showSample());
  }

  open(): void {
    this.fill();
    this.dialog.showModal();
  }

  /** The server keeps this many lines of scrollback. The page keeps no more: they would be gone after a reload. */
  boundScrollback(lines: number): void {
    this.serverLines = lines;
    if (this.dialog.open) this.fill();
  }

  private fill(): void {
    const { current } = settings;
    const bound = this.serverLines ?? SCROLLBACK_MAX;
    setText(this.error, "");
    field("font").value = current.font;
    field("size").value = String(current.fontSize ?? "");
    field("size").min = String(FONT_SIZE_MIN);
    field("size").max = String(FONT_SIZE_MAX);
    const themes = [...THEMES].map(([name, { title }]): [string, string] => [name, title]);
    if (current.imported !== null) themes.push([IMPORTED, `${current.imported.title} (imported)`]);
    fillSelect(choice("theme"), [[FOLLOW_SYSTEM, "stayd, dark or light as the system"], ...themes], current.theme);
    const contrasts = CONTRASTS.map((one, at): [string, string] => [String(one), CONTRAST_TEXTS[at] ?? ""]);
    fillSelect(choice("contrast"), [["", "as suits the theme"], ...contrasts], String(current.contrast ?? ""));
    fillSelect(choice("cursor"), CURSORS, current.cursor);
    field("blink").checked = current.cursorBlinks;
    field("scrollback").value = current.scrollback === null ? "" : String(Math.min(current.scrollback, bound));
    field("scrollback").max = String(bound);
    field("scrollback").placeholder = this.serverLines === null ? "as the server" : String(bound);
    const kept = this.serverLines === null ? "" : `The server keeps ${bound} lines of each session; more would be gone after a reload.`;
    setText(byId("settings-scrollback-hint"), kept);
    field("copy").checked = current.copyOnSelect;
    fillSelect(choice("bell"), BELLS, current.bell);
    this.showSample();
  }

  /** Shows the theme's colours. */
  private showSample(): void {
    const { background, foreground, ansi } = chosenColours();
    this.sample.style.background = background;
    this.sample.style.color = foreground;
    const squares = ansi.map((colour) => {
      const square = make("span");
      square.style.background = colour;
      return square;
    });
    this.sample.replaceChildren(...squares);
  }

  private async import(): Promise<void> {
    const [file] = this.file.files ?? [];
    if (file === undefined) return;
    try {
      if (file.size > THEME_FILE_MAX) throw new Error("The file is too large for a theme.");
      const text = await file.text();
      const title = file.name.replace(/(-color-theme)?\.\w+$/, "").slice(0, 60);
      settings.change({ theme: IMPORTED, imported: { title, colours: importTheme(text) } });
      this.fill();
    } catch (problem) {
      setText(this.error, problem instanceof Error ? problem.message : String(problem));
    }
    // So that the browser tells when the user chooses the same file again.
    this.file.value = "";
  }
}

/** The number in a field; null if it is empty. */
function numberIn(input: HTMLInputElement): number | null {
  return input.value === "" || !Number.isFinite(input.valueAsNumber) ? null : input.valueAsNumber;
}
