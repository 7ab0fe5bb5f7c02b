import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { visibleStart, visibleText } from "../src/visible";

test("what acts instead of being read is made visible", () => {
  for (const [text, shown] of [
    ["plain ~/src (1)", "plain ~/src (1)"],
    ["grüße, 日本語, עברית", "grüße, 日本語, עברית"],
    ["a\x1b[31m\r\n\tb\x00\x7f", "a␛[31m␍␊␉b␀␡"],
    ["\u009b31m", "<U+009B>31m"],
    ["photo\u202egpj.exe", "photo<U+202E>gpj.exe"],
    ["\u2066a\u2069\u200e\u200f\u061c", "<U+2066>a<U+2069><U+200E><U+200F><U+061C>"],
    ["ad\u200bmin\u2060\ufeff\u00ad", "ad<U+200B>min<U+2060><U+FEFF><U+00AD>"],
    ["\u3164\u2800\u034f\u180e", "<U+3164><U+2800><U+034F><U+180E>"],
    ["a\u2028b\u2029", "a<U+2028>b<U+2029>"],
    ["x\u{e0041}y\u{e0101}", "x<U+E0041>y<U+E0101>"],
    ["\ud800!", "<U+D800>!"],
  ]) {
    assert.equal(visibleText(text ?? ""), shown);
  }
});

test("emoji stay whole, and nothing hides behind one", () => {
  for (const whole of ["👩‍💻", "❤️", "👁️‍🗨️", "3️⃣".slice(0, 2)]) assert.equal(visibleText(whole), whole);
  assert.equal(visibleText("👩\u200dx"), "👩<U+200D>x");
  assert.equal(visibleText("a\ufe0f"), "a<U+FE0F>");
  assert.equal(visibleText("❤️\ufe0f"), "❤️<U+FE0F>");
});

test("a long text is cut, and its length said", () => {
  assert.equal(visibleStart("abc", 3), "abc");
  assert.equal(visibleStart("abcd\n", 3), "abc… (5 characters)");
  assert.equal(visibleStart("😀😀", 2), "😀😀");
  assert.equal(visibleStart("\x1b".repeat(500), 3), "␛␛␛… (500 characters)");
});

/** The ways by which text comes onto the page or out of it, past `dom.ts`. */
const AROUND = /\.(textContent|innerText|innerHTML|outerHTML|title|ariaLabel) = |insertAdjacent|createTextNode|document\.write|setAttribute\("(title|aria-label)"|new Notification\(/;

test("text comes onto the page through dom.ts alone", () => {
  const allowed: Record<string, string[]> = {
    // A title in the data, and a field of an object: neither is an element's.
    "live-sessions.ts": ["session.title = event.title ?? null;"],
    "tab-badge.ts": ["this.title = title;", "if (document.title !== shown) document.title = shown;"],
    "browser-notifications.ts": ["const note = new Notification(visibleText(name), {"],
  };
  const found: string[] = [];
  for (const file of readdirSync("src").filter((name) => name.endsWith(".ts") && name !== "dom.ts")) {
    for (const line of readFileSync(`src/${file}`, "utf8").split("\n")) {
      if (AROUND.test(line) && !allowed[file]?.some((one) => line.includes(one))) found.push(`${file}: ${line.trim()}`);
    }
  }
  assert.deepEqual(found, []);
});
