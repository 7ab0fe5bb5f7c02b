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

/**
 * Feeds bytes and returns when they are parsed. In pieces that end with a character: xterm.js
 * cuts what is longer than 128 KiB anywhere, and then loses some characters.
 */
export function write(terminal, bytes) {
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(start + 65536, bytes.length);
    while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
    terminal._core._writeBuffer.writeSync(bytes.subarray(start, end));
    start = end;
  }
}

/**
 * xterm.js leaves an empty alternate screen its capacity when the terminal gets lower
 * (Buffer.resize), so that it later has scrollback, which no sequence brings about. Put right.
 */
function resize(terminal, cols, rows) {
  terminal.resize(cols, rows);
  const { lines } = terminal._core._bufferService.buffers.alt;
  if (lines.length === 0) lines.maxLength = rows;
}

/** Applies output and resizes from one offset to another. */
export function play(terminal, stream, resizes, from, to) {
  for (const [at, cols, rows] of resizes) {
    if (at < from || at >= to) continue;
    write(terminal, stream.subarray(from, at));
    resize(terminal, cols, rows);
    from = at;
  }
  write(terminal, stream.subarray(from, to));
}

/**
 * What differs between two terminals, as short texts; empty if nothing does. `narrowest` is the
 * least width that they had, if they were resized, `later` whether also since the snapshot. Some
 * things are let pass, since no sequence brings them about and nothing on the screen tells of
 * them:
 * - Halves of wide characters. Inserting into one leaves its right half, xterm.js's reflow and
 *   a narrower alternate screen leave left halves. What comes after a left half that xterm.js's
 *   reflow left, to the end of the wrapped line, is pushed aside by its missing half.
 * - An alternate screen (which is not wrapped anew) keeps what is beyond its edge when it gets
 *   narrower, and shows it when it gets wider, unless the program has painted it anew.
 * - Resizes leave a saved cursor above or below the screen. Restored it is at the edge, as in a
 *   snapshot; a further resize may move the two differently.
 * - Whether a combining mark joins what was printed last, if a resize came in between.
 * - Reflow moves combining marks of a line along with cells that it does not move
 *   (BufferLine.copyCellsFrom), so that some cells show another's marks.
 */
export function compare(a, b, narrowest = 0, later = false) {
  const limit = 8;
  const differences = [];
  const check = (what, one, other) => {
    if (differences.length < limit && one !== other) differences.push(`${what}: ${one} | ${other}`);
  };
  const [coreA, coreB] = [a._core, b._core];
  check("size", `${a.cols}x${a.rows}`, `${b.cols}x${b.rows}`);
  check("active buffer", a.buffer.active.type, b.buffer.active.type);
  const [setA, setB] = [coreA._bufferService.buffers, coreB._bufferService.buffers];
  const alternate = a.buffer.active.type === "alternate";
  compareBuffer("normal", a, b, setA.normal, setB.normal, !alternate, narrowest, later, check);
  compareBuffer("alternate", a, b, setA.alt, setB.alt, alternate, narrowest, later, check);

  const [inA, inB] = [coreA._inputHandler, coreB._inputHandler];
  comparePen(a, b, inA._curAttrData, inB._curAttrData, check);
  if (!narrowest) check("joins", inA._parser.precedingJoinState >> 1, inB._parser.precedingJoinState >> 1);
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

const UNDERLINE = 0x10000000;

/** Colours and flags, without underline and extended attributes, which are in `extended`. */
function attributes(packed) {
  return ((packed & 0xec000000) | colour(packed)) >>> 0;
}

/**
 * Underline, its colour and the link as they are shown. xterm.js forgets where a link leads
 * when the line on which it began is erased, so that what is left of it depends on history: a
 * forgotten link is like any other.
 */
function extended(terminal, fg, bg, attrs) {
  const used = bg & EXTENDED;
  const style = fg & UNDERLINE ? (used ? attrs.underlineStyle : 1) : 0;
  const data = used && attrs.urlId ? terminal._core._oscLinkService.getLinkData(attrs.urlId) : undefined;
  const link = data ? `${data.id ?? ""};${data.uri}` : used && attrs.urlId ? "*" : "";
  return { style, colour: style && used ? colour(attrs.underlineColor) : 0, link };
}

function same(one, other) {
  return one.style === other.style && one.colour === other.colour &&
    (one.link === other.link || (one.link === "*" && other.link !== "") || (other.link === "*" && one.link !== ""));
}

function comparePen(a, b, one, other, check) {
  const text = (attrs) => `${attributes(attrs.fg).toString(16)} ${attributes(attrs.bg).toString(16)}`;
  check("pen", text(one), text(other));
  const [moreA, moreB] = [extended(a, one.fg, one.bg, one.extended), extended(b, other.fg, other.bg, other.extended)];
  if (!same(moreA, moreB)) check("pen", JSON.stringify(moreA), JSON.stringify(moreB));
}

function cell(terminal, line, x) {
  const [fg, bg] = [line.getFg(x), line.getBg(x)];
  const text = `${JSON.stringify(line.getString(x))} w${line.getWidth(x)} ${attributes(fg).toString(16)} ${attributes(bg).toString(16)}`;
  return [text, extended(terminal, fg, bg, line._extendedAttrs[x])];
}

/** Whether a cell belongs to a wide character that lacks its other half. */
function isHalf(line, x, cols) {
  const right = (x) => x < cols && line.getWidth(x) === 0 && !line.hasContent(x);
  if (line.getWidth(x) === 2) return !right(x + 1);
  const afterWide = x > 0 && line.getWidth(x - 1) === 2;
  return right(x) !== afterWide;
}

function compareBuffer(name, a, b, one, other, active, narrowest, later, check) {
  if (active) {
    check(`${name} x`, Math.min(one.x, a.cols), Math.min(other.x, b.cols));
    check(`${name} y`, one.y, other.y);
  }
  check(`${name} scrollback`, one.ybase, other.ybase);
  check(`${name} margins`, `${one.scrollTop}-${one.scrollBottom}`, `${other.scrollTop}-${other.scrollBottom}`);
  const tabs = (buffer, cols) => Object.keys(buffer.tabs).map(Number).filter((x) => buffer.tabs[x] && x < cols).join();
  check(`${name} tabs`, tabs(one, a.cols), tabs(other, b.cols));
  const saved = (buffer, { cols, rows }) => {
    const attrs = buffer.savedCurAttrData;
    const y = later ? "" : Math.min(Math.max(buffer.savedY - buffer.ybase, 0), rows - 1);
    return `${Math.min(buffer.savedX, cols - 1)},${y} ${attributes(attrs.fg)} ${attributes(attrs.bg)} ${JSON.stringify(buffer.savedCharset)}`;
  };
  check(`${name} saved cursor`, saved(one, a), saved(other, b));
  check(`${name} lines`, one.lines.length, other.lines.length);
  const count = Math.min(one.lines.length, other.lines.length);
  let pushed = false;
  for (let y = 0; y < count; y++) {
    const [lineA, lineB] = [one.lines.get(y), other.lines.get(y)];
    // Whether the oldest line goes on from one that is gone cannot be seen or told.
    if (y > 0) check(`${name} ${y} wrapped`, lineA.isWrapped, lineB.isWrapped);
    pushed &&= lineA.isWrapped;
    const [dataA, dataB] = [lineA._data, lineB._data];
    for (let x = 0; x < a.cols; x++) {
      const i = x * 3;
      pushed ||= narrowest > 0 && lineA.getWidth(x) === 2 && isHalf(lineA, x, a.cols);
      if (pushed) break;
      // Equal content without side tables is the common case.
      if (
        dataA[i] === dataB[i] && dataA[i + 1] === dataB[i + 1] && dataA[i + 2] === dataB[i + 2] &&
        !(dataA[i] & 0x200000) && !(dataA[i + 2] & EXTENDED)
      ) continue;
      if (narrowest && name === "alternate" && x >= narrowest) continue;
      if (narrowest && dataA[i] & dataB[i] & 0x200000 && dataA[i] >> 22 === dataB[i] >> 22) continue;
      if (isHalf(lineA, x, a.cols)) continue;
      const [cellA, cellB] = [cell(a, lineA, x), cell(b, lineB, x)];
      if (cellA[0] !== cellB[0] || !same(cellA[1], cellB[1])) check(`${name} ${y},${x}`, cellA[0] + JSON.stringify(cellA[1]), cellB[0] + JSON.stringify(cellB[1]));
    }
  }
}
