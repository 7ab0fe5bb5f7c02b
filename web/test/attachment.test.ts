import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bytes } from "../src/messages";
import { ACK_EVERY, Attachment, type Effect, OFFLINE_LIMIT } from "../src/attachment";

const ID = "0190d3c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f";
const bytes = (text: string): Bytes => new TextEncoder().encode(text);
const zeros = (length: number): Bytes => new Uint8Array(length);

/** The server's first message; `head` is the offset of the session's latest output. */
function attached(offset: number, { input = 0, head = offset, id = ID, window = 65536 } = {}): string {
  const session = { id, offset: head };
  const sizes = { input_window: window, mode: "rw", cols: 80, rows: 24 };
  return JSON.stringify({ type: "attached", session, client: "c", offset, input, ...sizes });
}

const json = (message: object) => JSON.stringify(message);

/** Effects in short form: `draw:text`, `replay:text`, `send:…`, otherwise the name alone. */
function short(effects: Effect[]): string[] {
  return effects.map((effect) => {
    if (effect.do === "draw") {
      return `${effect.replay ? "replay" : "draw"}:${new TextDecoder().decode(effect.bytes)}`;
    }
    if (effect.do === "send") {
      return `send:${typeof effect.data === "string" ? effect.data : new TextDecoder().decode(effect.data)}`;
    }
    if (effect.do === "resize") return `resize:${effect.cols}x${effect.rows}`;
    return effect.do;
  });
}

/** Applies effects like a terminal that renders at once. */
function render(attachment: Attachment, effects: Effect[]): string[] {
  return effects.flatMap((effect) =>
    effect.do === "draw" ? short(attachment.rendered(effect.mark)) : [],
  );
}

test("the first attach asks for nothing, begins empty and counts output", () => {
  const attachment = new Attachment();
  assert.deepEqual(attachment.position(), {});
  assert.deepEqual(short(attachment.text(attached(0))), ["reset", "resize:80x24", "attached"]);
  assert.deepEqual(short(attachment.binary(bytes("hello"))), ["draw:hello"]);
  assert.deepEqual(attachment.position(), { session: ID, offset: 5 });
});

test("a snapshot is drawn as a replay and counts for nothing", () => {
  const attachment = new Attachment();
  attachment.text(attached(1000));
  assert.deepEqual(short(attachment.text(json({ type: "snapshot", offset: 1000, length: 4 }))), ["reset"]);
  assert.deepEqual(short(attachment.binary(bytes("SNAP"))), ["replay:SNAP"]);
  assert.deepEqual(short(attachment.binary(bytes("next"))), ["draw:next"]);
  assert.deepEqual(attachment.position(), { session: ID, offset: 1004 });
});

test("an empty snapshot may come with an empty message or without one", () => {
  for (const empty of [true, false]) {
    const attachment = new Attachment();
    attachment.text(attached(10));
    attachment.text(json({ type: "snapshot", offset: 10, length: 0 }));
    if (empty) assert.deepEqual(attachment.binary(zeros(0)), []);
    assert.deepEqual(short(attachment.binary(bytes("x"))), ["draw:x"]);
    assert.equal(attachment.position().offset, 11);
  }
});

test("a snapshot of another length than announced starts afresh", () => {
  const attachment = new Attachment();
  attachment.text(attached(0));
  attachment.text(json({ type: "snapshot", offset: 0, length: 4 }));
  assert.deepEqual(short(attachment.binary(bytes("no"))), ["restart"]);
  assert.deepEqual(attachment.position(), {});
});

test("retained output is a replay up to where the session was, cut inside a message", () => {
  const attachment = new Attachment();
  attachment.text(attached(100, { head: 103 }));
  assert.deepEqual(short(attachment.binary(bytes("oldnew"))), ["replay:old", "draw:new"]);
  assert.equal(attachment.position().offset, 106);
});

test("a reconnect at the same place keeps the screen, and what was missed is no replay", () => {
  const attachment = new Attachment();
  attachment.text(attached(0));
  attachment.binary(bytes("abc"));
  attachment.closed();
  assert.deepEqual(attachment.position(), { session: ID, offset: 3 });
  assert.deepEqual(short(attachment.text(attached(3, { head: 9 }))), ["resize:80x24", "attached"]);
  assert.deepEqual(short(attachment.binary(bytes("missed"))), ["draw:missed"]);
});

test("a reconnect elsewhere, or to another session, forgets the screen", () => {
  for (const first of [attached(7), attached(3, { id: "0190d3c0-0000-7000-8000-000000000000" })]) {
    const attachment = new Attachment();
    attachment.text(attached(0));
    attachment.binary(bytes("abc"));
    attachment.closed();
    assert.equal(short(attachment.text(first))[0], "reset");
  }
});

test("a connection that breaks before the snapshot came leaves nothing to go on from", () => {
  const attachment = new Attachment();
  attachment.text(attached(50));
  attachment.text(json({ type: "snapshot", offset: 50, length: 4 }));
  attachment.closed();
  assert.deepEqual(attachment.position(), {});
});

test("acknowledges every 128 KiB that were rendered, not merely received", () => {
  const attachment = new Attachment();
  attachment.text(attached(0));
  const first = attachment.binary(zeros(ACK_EVERY - 1));
  const second = attachment.binary(zeros(2));
  assert.deepEqual(render(attachment, first), []);
  assert.deepEqual(render(attachment, second), [`send:{"type":"ack","offset":${ACK_EVERY + 1}}`]);
  assert.deepEqual(render(attachment, attachment.binary(zeros(10))), []);
});

test("what was rendered before a reset acknowledges nothing after it", () => {
  const attachment = new Attachment();
  attachment.text(attached(0));
  const old = attachment.binary(zeros(ACK_EVERY));
  attachment.text(json({ type: "snapshot", offset: 5_000_000, length: 0 }));
  assert.deepEqual(render(attachment, old), []);
});

test("typing is sent within the window and again after a loss, exactly from the server's count", () => {
  const attachment = new Attachment();
  attachment.text(attached(0, { window: 4 }));
  assert.deepEqual(short(attachment.typed(bytes("abcdef")) ?? []), ["send:abcd"]);
  assert.deepEqual(short(attachment.text(json({ type: "input", received: 2 }))), ["send:ef"]);
  attachment.closed();
  assert.deepEqual(attachment.typed(bytes("g")), []);
  const again = short(attachment.text(attached(0, { window: 4, input: 3 })));
  assert.equal(again.at(-1), "send:defg");
});

test("typing without a connection is kept up to its limit", () => {
  const attachment = new Attachment();
  assert.deepEqual(attachment.typed(zeros(OFFLINE_LIMIT)), []);
  assert.equal(attachment.typed(zeros(1)), null);
  assert.equal(attachment.input.waiting, OFFLINE_LIMIT);
});

test("sizes, states, ends and refusals are handed on; unknown messages are passed over", () => {
  const attachment = new Attachment();
  attachment.text(attached(0));
  const said = (message: object) => short(attachment.text(json(message)));
  assert.deepEqual(said({ type: "resized", offset: 0, cols: 100, rows: 30 }), ["resize:100x30"]);
  assert.deepEqual(said({ type: "state", status: "ACTIVE", active_connections: 2 }), ["state"]);
  assert.deepEqual(said({ type: "exit", code: 3, signal: null, reason: "exited" }), ["exit"]);
  assert.deepEqual(said({ type: "error", code: "x", message: "y" }), ["refused"]);
  assert.deepEqual(said({ type: "of-tomorrow" }), []);
  assert.deepEqual(short(attachment.resized(90, 20)), ['send:{"type":"resize","cols":90,"rows":20}']);
  assert.deepEqual(short(attachment.looked(false)), ['send:{"type":"looking","looking":false}']);
});

test("what is not the protocol starts afresh", () => {
  assert.deepEqual(short(new Attachment().text("{")), ["restart"]);
  assert.deepEqual(short(new Attachment().binary(bytes("x"))), ["restart"]);
});
