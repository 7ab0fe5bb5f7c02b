// A headless xterm.js as the page configures it, and its whole state compared with another's.

import unicode11 from "@xterm/addon-unicode11";
import headless from "@xterm/headless";

/** A terminal like the page's; with titles that can be saved, which is off by default. */
export function open(cols, rows, scrollback) {
  const terminal = new headless.Terminal({
    allowProposedApi: true,
    cols,
    rows,
    scrollback,
    logLevel: "off",
    windowOptions: { pushTitle: true, popTitle: true },
  });
  terminal.loadAddon(new unicode11.Unicode11Addon());
  terminal.unicode.activeVersion = "11";
  const colours = new Map();
  terminal._core._inputHandler.onColor((events) => {
    for (const { type, index, color } of events) {
      if (type === 1) colours.set(index, String(color));
      else if (type === 2 && index === undefined) for (const key of [...colours.keys()]) { if (key < 256) colours.delete(key); }
      else if (type === 2) colours.delete(index);
    }
  });
  terminal.colours = colours;
  terminal.answers = "";
  terminal.onData((data) => (terminal.answers += data));
  return terminal;
}

/** Feeds bytes and returns when they are parsed. */
export function write(terminal, bytes) {
  if (bytes.length) terminal._core._writeBuffer.writeSync(bytes);
}

/** Applies output and resizes from one offset to another. */
export function play(terminal, stream, resizes, from, to) {
  for (const [at, cols, rows] of resizes) {
    if (at < from || at >= to) continue;
    write(terminal, stream.subarray(from, at));
    terminal.resize(cols, rows);
    from = at;
  }
  write(terminal, stream.subarray(from, to));
}

/** What differs between two terminals, as short texts; empty if nothing does. */
export function compare(a, b, limit = 8) {
  const differences = [];
  const check = (what, one, other) => {
    if (differences.length < limit && one !== other) differences.push(`${what}: ${one} | ${other}`);
  };
  const [coreA, coreB] = [a._core, b._core];
  check("size", `${a.cols}x${a.rows}`, `${b.cols}x${b.rows}`);
  check("active buffer", a.buffer.active.type, b.buffer.active.type);
  const [setA, setB] = [coreA._bufferService.buffers, coreB._bufferService.buffers];
  const alternate = a.buffer.active.type === "alternate";
  compareBuffer("normal", a, b, setA.normal, setB.normal, !alternate, check);
  compareBuffer("alternate", a, b, setA.alt, setB.alt, alternate, check);

  const [inA, inB] = [coreA._inputHandler, coreB._inputHandler];
  check("pen", pen(a, inA._curAttrData), pen(b, inB._curAttrData));
  check("joins", inA._parser.precedingJoinState >> 1, inB._parser.precedingJoinState >> 1);
  check("parser", inA._parser.currentState, inB._parser.currentState);
  check("title", inA._windowTitle, inB._windowTitle);
  check("titles", JSON.stringify(inA._windowTitleStack), JSON.stringify(inB._windowTitleStack));
  const [charsetA, charsetB] = [coreA._charsetService, coreB._charsetService];
  check("level", charsetA.glevel, charsetB.glevel);
  check("charset", JSON.stringify(charsetA.charset), JSON.stringify(charsetB.charset));
  for (let i = 0; i < 4; i++) check(`G${i}`, JSON.stringify(charsetA._charsets[i]), JSON.stringify(charsetB._charsets[i]));
  const [serviceA, serviceB] = [coreA.coreService, coreB.coreService];
  check("modes", JSON.stringify(serviceA.modes), JSON.stringify(serviceB.modes));
  for (const key of Object.keys(serviceA.decPrivateModes)) check(key, serviceA.decPrivateModes[key], serviceB.decPrivateModes[key]);
  check("cursor hidden", serviceA.isCursorHidden, serviceB.isCursorHidden);
  check("mouse", coreA.coreMouseService.activeProtocol, coreB.coreMouseService.activeProtocol);
  check("mouse encoding", coreA.coreMouseService.activeEncoding, coreB.coreMouseService.activeEncoding);
  check("blink", a.options.cursorBlink, b.options.cursorBlink);
  check("line feed", a.options.convertEol, b.options.convertEol);
  const colours = (terminal) => JSON.stringify([...terminal.colours].sort());
  check("colours", colours(a), colours(b));
  return differences;
}

const COLOUR_MODE = 0x3000000;
const EXTENDED = 0x10000000;

/** A packed colour without the bits that palette colours leave over. */
function colour(packed) {
  const mode = packed & COLOUR_MODE;
  return mode === 0 ? 0 : mode === COLOUR_MODE ? packed & 0x3ffffff : packed & 0x30000ff;
}

function attributes(packed) {
  return ((packed & 0xfc000000) | colour(packed)) >>> 0;
}

function link(terminal, id) {
  const data = id ? terminal._core._oscLinkService.getLinkData(id) : undefined;
  return data ? `${data.id ?? ""};${data.uri}` : "";
}

function extended(terminal, attrs) {
  return `${attrs.underlineStyle}/${colour(attrs.underlineColor)}/${link(terminal, attrs.urlId)}`;
}

function pen(terminal, attrs) {
  return `${attributes(attrs.fg).toString(16)} ${attributes(attrs.bg).toString(16)} ${extended(terminal, attrs.extended)}`;
}

function cell(terminal, line, x) {
  const bg = line.getBg(x);
  const more = bg & EXTENDED ? extended(terminal, line._extendedAttrs[x]) : "";
  return `${JSON.stringify(line.getString(x))} w${line.getWidth(x)} ${attributes(line.getFg(x)).toString(16)} ${attributes(bg).toString(16)} ${more}`;
}

function compareBuffer(name, a, b, one, other, active, check) {
  if (active) {
    check(`${name} x`, Math.min(one.x, a.cols), Math.min(other.x, b.cols));
    check(`${name} y`, one.y, other.y);
  }
  check(`${name} scrollback`, one.ybase, other.ybase);
  check(`${name} margins`, `${one.scrollTop}-${one.scrollBottom}`, `${other.scrollTop}-${other.scrollBottom}`);
  const tabs = (buffer, cols) => Object.keys(buffer.tabs).map(Number).filter((x) => buffer.tabs[x] && x < cols).join();
  check(`${name} tabs`, tabs(one, a.cols), tabs(other, b.cols));
  const saved = (buffer, cols) => {
    const attrs = buffer.savedCurAttrData;
    return `${Math.min(buffer.savedX, cols - 1)},${Math.max(buffer.savedY - buffer.ybase, 0)} ${attributes(attrs.fg)} ${attributes(attrs.bg)} ${JSON.stringify(buffer.savedCharset)}`;
  };
  check(`${name} saved cursor`, saved(one, a.cols), saved(other, b.cols));
  check(`${name} lines`, one.lines.length, other.lines.length);
  const count = Math.min(one.lines.length, other.lines.length);
  for (let y = 0; y < count; y++) {
    const [lineA, lineB] = [one.lines.get(y), other.lines.get(y)];
    // Whether the oldest line goes on from one that is gone cannot be seen or told.
    if (y > 0) check(`${name} ${y} wrapped`, lineA.isWrapped, lineB.isWrapped);
    const [dataA, dataB] = [lineA._data, lineB._data];
    for (let x = 0; x < a.cols; x++) {
      const i = x * 3;
      // Equal content without side tables is the common case.
      if (
        dataA[i] === dataB[i] && dataA[i + 1] === dataB[i + 1] && dataA[i + 2] === dataB[i + 2] &&
        !(dataA[i] & 0x200000) && !(dataA[i + 2] & EXTENDED)
      ) continue;
      const [cellA, cellB] = [cell(a, lineA, x), cell(b, lineB, x)];
      if (cellA !== cellB) check(`${name} ${y},${x}`, cellA, cellB);
    }
  }
}
