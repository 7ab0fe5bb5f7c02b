// Links in the terminal: addresses in its text, and links of programs (OSC 8).

import { WebLinksAddon } from "@xterm/addon-web-links";
import type { ILinkHandler, Terminal } from "@xterm/xterm";

/** Called with the target of the link under the pointer; null when the pointer leaves it. */
export type LinkHover = (target: string | null) => void;

/** The address, if it is safe to open: http and https only. */
export function safeTarget(text: string): string | null {
  try {
    const { protocol, href } = new URL(text);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    return null;
  }
}

/** Opens an address in a new tab that has no access to this one. */
function open(_: MouseEvent, text: string): void {
  const target = safeTarget(text);
  if (target !== null) window.open(target, "_blank", "noopener,noreferrer");
}

/** For OSC 8 links, whose text may differ from their target. */
export function linkHandler(pointed: LinkHover): ILinkHandler {
  return { activate: open, hover: (_, text) => pointed(safeTarget(text)), leave: () => pointed(null) };
}

/** Makes links of the addresses in the terminal's text. */
export function findLinks(terminal: Terminal, pointed: LinkHover): void {
  terminal.loadAddon(
    new WebLinksAddon(open, { hover: (_, text) => pointed(safeTarget(text)), leave: () => pointed(null) }),
  );
}
