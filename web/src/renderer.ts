// Which of xterm.js's renderers draws: WebGL where a graphics card does it, else the DOM.

import type { Terminal } from "@xterm/xterm";
import { loadSetting } from "./storage";

/** What is kept under it may say `dom` or `webgl`, against what is found out. */
const CHOICE = "stayd-renderer";

/** Whether WebGL is there and faster than the DOM: done by the processor it is slower. */
function isFast(): boolean {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (context === null) return false;
  const info = context.getExtension("WEBGL_debug_renderer_info");
  const card = info === null ? "" : String(context.getParameter(info.UNMASKED_RENDERER_WEBGL));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(card);
}

/** What browsers call a card that is none; not all of them own up to it when asked for speed. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** Draws with WebGL if that can be; called once the terminal is open. The DOM draws until
    the renderer is loaded, and again if the card takes its context away; a cell is not as
    large with the one as with the other, so `changed` is told. */
export async function accelerate(terminal: Terminal, isOpen: () => boolean, changed: () => void): Promise<void> {
  const wanted = loadSetting(CHOICE) ?? (isFast() ? "webgl" : "dom");
  if (wanted !== "webgl") return;
  try {
    const { WebglAddon } = await import("@xterm/addon-webgl");
    if (!isOpen()) return;
    const addon = new WebglAddon();
    addon.onContextLoss(() => {
      addon.dispose();
      changed();
    });
    terminal.loadAddon(addon);
    changed();
  } catch {
    // No WebGL after all: the DOM goes on drawing.
  }
}
