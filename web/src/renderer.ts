// Chooses xterm.js's renderer: WebGL where a graphics card does the work, otherwise the DOM.

import type { Terminal } from "@xterm/xterm";
import { loadSetting } from "./storage";

/** A stored `dom` or `webgl` under this key overrides the detection. */
const CHOICE = "stayd-renderer";

/** Whether WebGL is faster than the DOM. It is slower if the processor does the drawing. */
function isFast(): boolean {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (context === null) return false;
  const info = context.getExtension("WEBGL_debug_renderer_info");
  const card = info === null ? "" : String(context.getParameter(info.UNMASKED_RENDERER_WEBGL));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(card);
}

/** Names of software renderers. Some browsers offer them even when asked to refuse slow WebGL. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** Switches to WebGL if it is available and fast; call it once the terminal is open. The DOM draws
    until the renderer is loaded, and again if the card loses its context. The two renderers have
    cells of different sizes, so `changed` is called after each switch. */
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
    // WebGL does not work here: the DOM continues to draw.
  }
}
