import assert from "node:assert/strict";
import { test } from "node:test";
import { importTheme } from "../src/theme-import";
import { isLight, STAYD_DARK, STAYD_LIGHT, THEMES } from "../src/themes";

test("a VS Code theme is read, with comments, trailing commas and transparent colours", () => {
  const theme = importTheme(`\ufeff{
    // "terminal.background": "#ff0000",
    "name": "Mine /* not a comment */", /* a comment, "colors": */
    "colors": {
      "editor.background": "#202020",
      "terminal.foreground": "#ABC",
      "editor.selectionBackground": "#ffffff80",
      "terminal.ansiRed": "#cc0000",
      "terminal.ansiBrightWhite": "#fefefeff",
      "terminal.ansiBlue": "blue",
    },
  }`);
  assert.equal(theme.background, "#202020");
  assert.equal(theme.foreground, "#aabbcc");
  assert.equal(theme.cursor, "#aabbcc", "the cursor has the colour of the text");
  assert.equal(theme.selection, "#909090", "half white over #202020");
  assert.equal(theme.ansi[1], "#cc0000");
  assert.equal(theme.ansi[15], "#fefefe");
  assert.equal(theme.ansi[4], STAYD_DARK.ansi[4], "what is no colour is left out");
  assert.equal(theme.ansi.length, 16);
});

test("what a light theme leaves out comes from the light theme", () => {
  const theme = importTheme('{"colors":{"terminal.background":"#fffff0"}}');
  assert.equal(theme.foreground, STAYD_LIGHT.foreground);
  assert.deepEqual(theme.ansi, STAYD_LIGHT.ansi);
});

const colour = (name: string, red: string, green: string, blue: string) => `<key>${name}</key>
  <dict><key>Alpha Component</key><real>1</real><key>Blue Component</key><real>${blue}</real>
  <key>Color Space</key><string>sRGB</string><key>Green Component</key><real>${green}</real>
  <key>Red Component</key><real>${red}</real></dict>`;

test("an iTerm theme is read", () => {
  const theme = importTheme(`<?xml version="1.0" encoding="UTF-8"?>
  <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
  <plist version="1.0"><dict>
  ${colour("Ansi 0 Color", "0", "0.2", "1")} ${colour("Ansi 15 Color", "1", "1", "0.99609375")}
  ${colour("Background Color", "0.0", "0.16862745583057404", "0.21176470816135406")}
  ${colour("Foreground Color", "0.5", "2", "-1")} ${colour("Cursor Color", "nonsense", "0", "0")}
  </dict></plist>`);
  assert.equal(theme.ansi[0], "#0033ff");
  assert.equal(theme.ansi[15], "#fffffe");
  assert.equal(theme.background, "#002b36");
  assert.equal(theme.foreground, "#80ff00", "components are kept between 0 and 1");
  assert.equal(theme.cursor, "#80ff00");
});

test("a file without colours is refused, and says why", () => {
  assert.throws(() => importTheme("hello"), /neither a VS Code theme \(JSON\) nor an iTerm theme/);
  assert.throws(() => importTheme('{"colors":{"editor.lineHighlight":"#fff"}}'), /no terminal colours/);
  assert.throws(() => importTheme("null"), /no terminal colours/);
  assert.throws(() => importTheme("<plist><dict></dict></plist>"), /no terminal colours/);
});

test("every known theme has all its colours, and a dark one is told from a light one", () => {
  assert.ok(THEMES.size >= 12, `${THEMES.size} themes`);
  for (const [name, { colours }] of THEMES) {
    const { background, foreground, cursor, selection, ansi } = colours;
    assert.equal(ansi.length, 16, name);
    for (const one of [background, foreground, cursor, selection, ...ansi]) assert.match(one, /^#[0-9a-f]{6}$/, name);
    assert.equal(isLight(background), /light|latte/.test(name), name);
    assert.notEqual(isLight(background), isLight(foreground), `${name}: the text can be read`);
  }
});
