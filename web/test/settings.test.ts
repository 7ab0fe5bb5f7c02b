import assert from "node:assert/strict";
import { test } from "node:test";
import { cleanFont, DEFAULTS, parseSettings } from "../src/settings";
import { STAYD_LIGHT } from "../src/themes";

test("what was stored is read back", () => {
  const stored = {
    font: "Fira Code, Hack",
    fontSize: 17,
    theme: "imported",
    imported: { title: "Mine", colours: STAYD_LIGHT },
    contrast: 7,
    cursor: "bar",
    cursorBlinks: false,
    scrollback: 300,
    copyOnSelect: true,
    bell: "sound",
  };
  assert.deepEqual(parseSettings(JSON.stringify(stored)), stored);
});

test("what is missing or makes no sense has its default", () => {
  for (const text of [null, "", "null", "[]", "7", "{", '{"theme":"no such theme","contrast":2,"cursor":1,"bell":true,"font":[]}', '{"theme":"imported"}']) {
    assert.deepEqual(parseSettings(text), DEFAULTS, String(text));
  }
  const { fontSize, scrollback } = parseSettings('{"fontSize":3000,"scrollback":-4}');
  assert.deepEqual([fontSize, scrollback], [40, 0]);
  const half = { ...STAYD_LIGHT, background: "url(//example.com)" };
  assert.equal(parseSettings(JSON.stringify({ imported: { title: "x", colours: half } })).imported, null);
});

test("the name of a font cannot leave its place in a style", () => {
  assert.equal(cleanFont('Fira Code, "Noto Sans Mono"'), "Fira Code, Noto Sans Mono");
  assert.equal(cleanFont('x"; } body { display: none } /*'), "x  body  display none");
});
