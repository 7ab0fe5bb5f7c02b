// A headless xterm.js as the page configures it, and its whole state compared with another's.

import unicode11 from "@xterm/addon-unicode11";
import headless from "@xterm/headless";

let widthOf;

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
  const handler = terminal._core._inputHandler;
  for (const name of ["tabSet", "tabClear"]) {
    const change = handler[name].bind(handler);
    handler[name] = (params) => (terminal.changesTabs = change(params));
  }
  putRight(terminal);
  widthOf ??= (code) => terminal._core.unicodeService.wcwidth(code);
  terminal.answers = "";
  terminal.onData((data) => (terminal.answers += data));
  return terminal;
}

/**
 * Some of what xterm.js does is not done by stayd, and put right here so that the rest can be
 * compared:
 * - A wide character that does not fit, autowrap being off, leaves what depends on how the output
 *   was cut into writes: xterm.js looks for halves of wide characters at the beginning and the end
 *   of a run of text. stayd does so at each character.
 * - Wrapping lines anew when that takes more lines than are kept overwrites lines at the bottom
 *   with what is too much (CircularList.set with an index below 0).
 * - It moves combining marks along with cells that it does not move (BufferLine.copyCellsFrom), so
 *   that some cells show another's marks.
 */
function putRight(terminal) {
  const core = terminal._core;
  const handler = core._inputHandler;
  const print = handler.print.bind(handler);
  handler.print = (data, start, end) => {
    if (core.coreService.decPrivateModes.wraparound) return print(data, start, end);
    for (let at = start; at < end; at++) print(data, at, at + 1);
  };
  const { lines } = core._bufferService.buffers.normal;
  const list = Object.getPrototypeOf(lines);
  if (list.isRight) return;
  list.isRight = true;
  const { set } = list;
  list.set = function (index, value) {
    if (index >= 0) set.call(this, index, value);
  };
  const line = Object.getPrototypeOf(lines.get(0));
  const { copyCellsFrom } = line;
  line.copyCellsFrom = function (source, from, to, length, applyInReverse) {
    const isWithin = ([x]) => Number(x) >= from && Number(x) < from + length;
    const marks = Object.entries(source._combined).filter(isWithin);
    const kept = { ...this._combined };
    copyCellsFrom.call(this, source, from, to, length, applyInReverse);
    this._combined = kept;
    for (const [x, text] of marks) this._combined[Number(x) - from + to] = text;
  };
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

/**
 * Applies output and resizes from one moment to another. A moment is {at, resized}: after so many
 * bytes and so many of the resizes.
 */
export function play(terminal, stream, resizes, from, to) {
  let { at } = from;
  for (const [when, cols, rows] of resizes.slice(from.resized, to.resized)) {
    write(terminal, stream.subarray(at, when));
    resize(terminal, cols, rows);
    at = when;
  }
  write(terminal, stream.subarray(at, to.at));
}

/**
 * What differs between two terminals, as short texts; empty if nothing does. Let pass are halves
 * of wide characters, which no sequence brings about (see `adopt`); and whether a combining mark
 * joins what was printed last, where a snapshot does not tell.
 */
export function compare(a, b, resized) {
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
  compareBuffer("normal", a, b, setA.normal, setB.normal, !alternate, check);
  compareBuffer("alternate", a, b, setA.alt, setB.alt, alternate, check);

  const [inA, inB] = [coreA._inputHandler, coreB._inputHandler];
  if (!alternate || isRegular(inA._curAttrData)) comparePen(a, b, inA._curAttrData, inB._curAttrData, check);
  // A wide character that was dropped at the edge is joined all the same, autowrap being off.
  if (!resized && joinsAreKnown(a)) check("joins", inA._parser.precedingJoinState >> 1, inB._parser.precedingJoinState >> 1);
  check("parser", inA._parser.currentState, inB._parser.currentState);
  check("title", inA._windowTitle, inB._windowTitle);
  check("titles", JSON.stringify(inA._windowTitleStack), JSON.stringify(inB._windowTitleStack));
  const [charsetA, charsetB] = [coreA._charsetService, coreB._charsetService];
  check("level", charsetA.glevel, charsetB.glevel);
  if (!alternate || isDesignated(charsetA)) check("charset", JSON.stringify(charsetA.charset), JSON.stringify(charsetB.charset));
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

/** Whether the pen's flags agree with its extended attributes; DECRC brings back the flags alone. */
function isRegular({ fg, bg, extended }) {
  const style = (extended._ext >> 26) & 7;
  return (bg & EXTENDED) !== 0 === !extended.isEmpty() && (fg & UNDERLINE) !== 0 === (style !== 0);
}

/** Whether the character set in use is designated; DECRC brings one back that is not. */
function isDesignated({ charset, glevel, _charsets }) {
  return charset === _charsets[glevel];
}

/** Whether a snapshot tells if a combining mark joins what was printed last. */
function joinsAreKnown(terminal) {
  const { coreService, _bufferService, _charsetService, _inputHandler } = terminal._core;
  const { y, scrollTop, scrollBottom, hasScrollback } = _bufferService.buffer;
  const { origin, wraparound } = coreService.decPrivateModes;
  if (!wraparound || (coreService.modes.insertMode && origin && (y < scrollTop || y > scrollBottom))) return false;
  return hasScrollback || (isRegular(_inputHandler._curAttrData) && isDesignated(_charsetService));
}

const COLOUR_MODE = 0x3000000;
const EXTENDED = 0x10000000;
const UNDERLINE = 0x10000000;

/** A packed colour without the bits that palette colours leave over. */
function colour(packed) {
  const mode = packed & COLOUR_MODE;
  return mode === 0 ? 0 : mode === COLOUR_MODE ? packed & 0x3ffffff : packed & 0x30000ff;
}

/** Colours and flags, without extended attributes, which are in `extended`. */
function attributes(packed, flags) {
  return ((packed & flags) | colour(packed)) >>> 0;
}

const FG_FLAGS = 0xfc000000;
const BG_FLAGS = 0x6c000000;

/**
 * Extended attributes: underline style with its colour, and the link; with their flag, since a pen
 * keeps them where it does not use them. xterm.js forgets where a link leads when the line on
 * which it began is erased, so that what is left of it depends on history: a forgotten link is
 * like any other.
 */
function extended(terminal, bg, attrs) {
  const data = attrs.urlId ? terminal._core._oscLinkService.getLinkData(attrs.urlId) : undefined;
  const link = data ? `${data.id ?? ""};${data.uri}` : attrs.urlId ? "*" : "";
  return { used: (bg & EXTENDED) !== 0, style: (attrs._ext >> 26) & 7, colour: colour(attrs.underlineColor), link };
}

const UNUSED = { used: false, style: 0, colour: 0, link: "" };

function same(one, other) {
  return one.used === other.used && one.style === other.style && one.colour === other.colour &&
    (one.link === other.link || (one.link === "*" && other.link !== "") || (other.link === "*" && one.link !== ""));
}

function comparePen(a, b, one, other, check) {
  const text = (attrs) => `${attributes(attrs.fg, FG_FLAGS).toString(16)} ${attributes(attrs.bg, BG_FLAGS).toString(16)}`;
  check("pen", text(one), text(other));
  const [moreA, moreB] = [extended(a, one.bg, one.extended), extended(b, other.bg, other.extended)];
  if (!same(moreA, moreB)) check("pen", JSON.stringify(moreA), JSON.stringify(moreB));
}

function cell(terminal, line, x) {
  const [fg, bg] = [line.getFg(x), line.getBg(x)];
  const text = `${JSON.stringify(line.getString(x))} w${line.getWidth(x)} ${attributes(fg, FG_FLAGS).toString(16)} ${attributes(bg, BG_FLAGS).toString(16)}`;
  return [text, bg & EXTENDED ? extended(terminal, bg, line._extendedAttrs[x]) : UNUSED];
}

/**
 * Whether a cell belongs to a wide character that lacks its other half or has one that is empty, or
 * has another width than what is in it.
 */
function isHalf(line, x, cols) {
  if (line.hasContent(x) && widthOf(line.getString(x).codePointAt(0)) !== line.getWidth(x)) return true;
  const right = (x) => x < cols && line.getWidth(x) === 0 && !line.hasContent(x);
  if (line.getWidth(x) === 2) return !right(x + 1);
  const afterWide = x > 0 && line.getWidth(x - 1) === 2;
  if (right(x) && afterWide) return line.getFg(x) !== line.getFg(x - 1) || line.getBg(x) !== line.getBg(x - 1);
  return right(x) !== afterWide;
}

function compareBuffer(name, a, b, one, other, active, check) {
  const outside = active && isOutside(a, one);
  if (active) check(`${name} cursor`, outside ? "outside" : `${one.x},${one.y}`, outside ? "outside" : `${other.x},${other.y}`);
  check(`${name} scrollback`, one.ybase, other.ybase);
  check(`${name} margins`, `${one.scrollTop}-${one.scrollBottom}`, `${other.scrollTop}-${other.scrollBottom}`);
  check(`${name} tabs`, tabs(one, a.cols).join(), tabs(other, b.cols).join());
  const saved = (buffer, { rows }) => {
    const attrs = buffer.savedCurAttrData;
    return `${reachable(buffer, a.cols, rows)} ${attributes(attrs.fg, FG_FLAGS)} ${attributes(attrs.bg, BG_FLAGS | EXTENDED)} ${JSON.stringify(buffer.savedCharset)}`;
  };
  check(`${name} saved cursor`, saved(one, a), saved(other, b));
  check(`${name} lines`, one.lines.length, other.lines.length);
  const count = Math.min(one.lines.length, other.lines.length);
  for (let y = 0; y < count; y++) {
    const [lineA, lineB] = [one.lines.get(y), other.lines.get(y)];
    if (isGap(lineA, a.cols)) continue;
    check(`${name} ${y} wrapped`, lineA.isWrapped, lineB.isWrapped);
    const [dataA, dataB] = [lineA._data, lineB._data];
    for (let x = 0; x < a.cols; x++) {
      const i = x * 3;
      // Equal content without side tables is the common case.
      if (
        dataA[i] === dataB[i] && dataA[i + 1] === dataB[i + 1] && dataA[i + 2] === dataB[i + 2] &&
        !(dataA[i] & 0x200000) && !(dataA[i + 2] & EXTENDED)
      ) continue;
      if (isHalf(lineA, x, a.cols)) continue;
      const [cellA, cellB] = [cell(a, lineA, x), cell(b, lineB, x)];
      if (cellA[0] !== cellB[0] || !same(cellA[1], cellB[1])) check(`${name} ${y},${x}`, cellA[0] + JSON.stringify(cellA[1]), cellB[0] + JSON.stringify(cellB[1]));
    }
  }
}

/** Whether a line has nothing but empty cells with attributes, which no sequence brings about. */
function isGap(line, cols) {
  const { length } = line;
  for (let x = 0; x < Math.min(length, cols); x++) {
    if (line.hasContent(x) || line.getWidth(x) !== 1) return false;
    if (attributes(line.getFg(x), FG_FLAGS) === 0 && attributes(line.getBg(x), BG_FLAGS | EXTENDED) === colour(line.getBg(x))) return false;
  }
  return true;
}

/**
 * Whether the cursor is past the last column of the alternate screen, and printing there once more
 * does not bring it back: nothing is shown there, or with attributes that DECRC brought about.
 */
function isOutside(terminal, buffer) {
  if (buffer.hasScrollback || buffer !== terminal._core._bufferService.buffer || buffer.x < terminal.cols) return false;
  const [line, last] = [buffer.lines.get(buffer.y), terminal.cols - 1];
  const half = last > 0 && line.getWidth(last - 1) === 2 && !line.hasContent(last);
  const at = half ? last - 1 : last;
  const [fg, bg] = [line.getFg(at), line.getBg(at)];
  const isPlain = (bg & EXTENDED) === 0 && (fg & UNDERLINE) === 0;
  if (!line.hasContent(at) || !isRegular(terminal._core._inputHandler._curAttrData)) return true;
  return !isPlain && ((bg & EXTENDED) === 0 || !isRegular({ fg, bg, extended: line._extendedAttrs[at] }));
}

/** Tab stops before a column. */
function tabs(buffer, end) {
  return Object.keys(buffer.tabs).map(Number).filter((x) => buffer.tabs[x] && x < end);
}

/**
 * The alternate screen's saved cursor may be below it or beyond its edge; then it is restored there.
 * A resize may leave that of the primary screen below all lines that it can have.
 */
function reachable(buffer, cols, rows) {
  const [x, y] = [buffer.savedX, buffer.savedY];
  const last = buffer.lines.maxLength - 1;
  return buffer.hasScrollback ? `${x},${Math.min(y, last)}` : `${Math.min(x, cols - 1)},${Math.min(y, rows - 1)}`;
}

/**
 * Gives a terminal that started from a snapshot what the other has and no sequence brings about,
 * so that the two can be compared further on with `whole`, which has seen everything. Answers what
 * that was:
 * - Tab stops that were set when the terminal was wider.
 * - The alternate screen's saved cursor, if it is below the screen or past the last column; the
 *   primary's, if a resize left it below all lines that there can be.
 * - What the alternate screen, which is not wrapped anew, keeps beyond its edge when it gets
 *   narrower, and shows when it gets wider, unless the program has painted it anew.
 * - Halves of wide characters: inserting into one leaves its right half, reflow and a narrower
 *   alternate screen leave left halves. And cells of another width than their text: a mark that
 *   joins after a resize, or a wide character that was dropped at the edge, makes them.
 * - Lines of nothing but empty cells with attributes other than a background.
 * - On the alternate screen, a cursor past the last column of a line that shows nothing there, or
 *   where flags of the cell or the pen do not agree with its extended attributes; and a character set that is not designated or flags of the pen that do not agree with its extended
 *   attributes, which the primary screen's saved cursor brought back.
 * - Whether a combining mark joins what was printed last, after a resize, or what was dropped at
 *   the edge, autowrap being off, or outside the margins in origin and insert mode.
 */
export function adopt(from, to, resized, whole) {
  const adopted = new Set();
  const [setA, setB] = [from._core._bufferService.buffers, to._core._bufferService.buffers];
  for (const [one, other] of [[setA.normal, setB.normal], [setA.alt, setB.alt]]) {
        // A terminal that gets wider goes on with the usual stops by itself, while there are no others.
    const usual = !whole.changesTabs;
    const beyond = tabs(one, Infinity).filter((x) => x >= to.cols && !other.tabs[x]);
    if (beyond.length && !usual) adopted.add("tabs");
    for (const x of beyond) other.tabs[x] = true;
    if ((one === setA.alt || one.savedY >= one.lines.maxLength) && (one.savedY !== other.savedY || one.savedX !== other.savedX)) {
      adopted.add("saved cursor");
      [other.savedX, other.savedY] = [one.savedX, one.savedY];
    }
    for (let y = 0; y < Math.min(one.lines.length, other.lines.length); y++) {
      const [lineA, lineB] = [one.lines.get(y), other.lines.get(y)];
      if (lineA.length > lineB.length) {
        adopted.add("beyond the edge");
        lineB.resize(lineA.length, other.getNullCell());
      }
      const gap = isGap(lineA, to.cols);
      if (gap) adopted.add("lines of gaps");
      if (gap) lineB.isWrapped = lineA.isWrapped;
      for (let x = 0; x < lineA.length; x++) {
        if (x < to.cols && !gap && !isHalf(lineA, x, to.cols)) continue;
        if (x < to.cols && !gap) adopted.add("halves");
        adoptCell(from, to, lineA, lineB, x);
      }
    }
  }
  if (from.buffer.active.type === "alternate") {
    if (isOutside(from, setA.alt) && setA.alt.x !== setB.alt.x) {
      adopted.add("pending wrap");
      setB.alt.x = setA.alt.x;
    }
    const [charsetA, charsetB] = [from._core._charsetService, to._core._charsetService];
    if (!isDesignated(charsetA) && charsetA.charset !== charsetB.charset) {
      adopted.add("character set");
      charsetB.charset = charsetA.charset;
    }
    const [penA, penB] = [from._core._inputHandler._curAttrData, to._core._inputHandler._curAttrData];
    if (!isRegular(penA)) {
      adopted.add("pen");
      [penB.fg, penB.bg] = [penA.fg, penA.bg];
      penB.extended = adoptAttributes(from, to, penA.extended);
    }
  }
  const [parserA, parserB] = [from._core._inputHandler._parser, to._core._inputHandler._parser];
  if ((resized || !joinsAreKnown(from)) && parserA.precedingJoinState !== parserB.precedingJoinState) {
    adopted.add("joins");
    parserB.precedingJoinState = parserA.precedingJoinState;
  }
  return [...adopted];
}

function adoptCell(from, to, one, other, x) {
  for (let i = x * 3; i < x * 3 + 3; i++) other._data[i] = one._data[i];
  if (one._combined[x] !== undefined) other._combined[x] = one._combined[x];
  const attrs = one._extendedAttrs[x];
  other._extendedAttrs[x] = attrs && adoptAttributes(from, to, attrs);
}

function adoptAttributes(from, to, attrs) {
  const adopted = attrs.clone();
  if (attrs.urlId) {
    const data = from._core._oscLinkService.getLinkData(attrs.urlId);
    // A number that leads nowhere stands for a link that was forgotten.
    adopted.urlId = data ? to._core._oscLinkService.registerLink(data) : 1e9;
  }
  return adopted;
}
