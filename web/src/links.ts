// Addresses in the terminal: those that are written there, and those behind a text (OSC 8).

import { WebLinksAddon } from "@xterm/addon-web-links";
import type { ILinkHandler, Terminal } from "@xterm/xterm";

/** Shows where a link leads; null: none is pointed at. */
export type LinkHover = (target: string | null) => void;

/** The address, if it is one that a browser may be sent to. */
export function safeTarget(text: string): string | null {
  try {
    const { protocol, href } = new URL(text);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    return null;
  }
}

/** Opens an address in a tab that knows nothing of this one. */
function open(_: MouseEvent, text: string): void {
  const target = safeTarget(text);
  if (target !== null) window.open(target, "_blank", "noopener,noreferrer");
}

/** For links whose text may say something else than where they lead. */
export function linkHandler(pointed: LinkHover): ILinkHandler {
  return { activate: open, hover: (_, text) => pointed(safeTarget(text)), leave: () => pointed(null) };
}

/** Finds the addresses that are written in the terminal. */
export function findLinks(terminal: Terminal, pointed: LinkHover): void {
  terminal.loadAddon(
    new WebLinksAddon(open, { hover: (_, text) => pointed(safeTarget(text)), leave: () => pointed(null) }),
  );
}
