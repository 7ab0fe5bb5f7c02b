// The browser's tab: its title with a number, its icon with a dot.

import { titleWithCount } from "./attention";
import { byId } from "./dom";
import { visibleText } from "./visible";

const PLAIN = "favicon.svg";

export class TabBadge {
  private readonly icon = byId<HTMLLinkElement>("icon");
  private dotted: Promise<string> | null = null;
  private count = 0;
  private title = "stayd";

  /** The tab's title, without a count. */
  setTitle(title: string): void {
    this.title = title;
    this.show();
  }

  /** Sets how many sessions need attention. */
  setCount(count: number): void {
    if (count === this.count) return;
    this.count = count;
    this.show();
    if (count === 0) this.icon.href = PLAIN;
    else void this.dot();
  }

  private show(): void {
    const shown = visibleText(titleWithCount(this.title, this.count));
    if (document.title !== shown) document.title = shown;
  }

  private async dot(): Promise<void> {
    this.dotted ??= withDot();
    const href = await this.dotted.catch(() => PLAIN);
    if (this.count > 0) this.icon.href = href;
  }
}

/** The icon with a dot in its corner, as a data URL. */
async function withDot(): Promise<string> {
  const svg = await (await fetch(PLAIN)).text();
  const box = /viewBox="0 0 (\d+) (\d+)"/.exec(svg);
  const size = Number(box?.[1] ?? 32);
  const at = (share: number) => (size * share).toFixed(1);
  const dot = `<circle cx="${at(0.76)}" cy="${at(0.24)}" r="${at(0.22)}" fill="#ff6b6b" stroke="#fff" stroke-width="${at(0.05)}"/>`;
  return `data:image/svg+xml,${encodeURIComponent(svg.replace("</svg>", `${dot}</svg>`))}`;
}
