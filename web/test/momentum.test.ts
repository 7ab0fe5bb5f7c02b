import assert from "node:assert/strict";
import { test } from "node:test";
import { Momentum } from "../src/momentum";

/** Moves a finger by so many pixels every 10 ms; returns the time after it. */
function swipe(momentum: Momentum, by: number, times: number): number {
  for (let step = 0; step < times; step += 1) momentum.moved(by, step * 10);
  return (times - 1) * 10;
}

function distance(momentum: Momentum): number {
  let sum = 0;
  for (let step = 0; step < 1000; step += 1) sum += momentum.step(16);
  return sum;
}

test("it goes on as fast as the finger was, ever slower, and stops", () => {
  const momentum = new Momentum();
  const end = swipe(momentum, -10, 20);
  assert.ok(momentum.release(end));
  const first = momentum.step(16);
  assert.ok(Math.abs(first + 16) < 1, `1 px a millisecond, up: ${first}`);
  assert.ok(Math.abs(momentum.step(16)) < Math.abs(first));
  const rest = distance(momentum);
  assert.ok(rest < -200 && rest > -400, `${rest} px`);
  assert.equal(momentum.step(16), 0, "it stands still");
});

test("a finger that rested before it left does not push", () => {
  const momentum = new Momentum();
  const end = swipe(momentum, 10, 20);
  assert.ok(!momentum.release(end + 300));
  assert.equal(momentum.step(16), 0);
  assert.ok(!momentum.release(0), "nor one that never moved");
});

test("a finger that comes down stops it", () => {
  const momentum = new Momentum();
  assert.ok(momentum.release(swipe(momentum, 10, 20)));
  momentum.stop();
  assert.equal(momentum.step(16), 0);
});
