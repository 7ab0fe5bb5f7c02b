import assert from "node:assert/strict";
import { test } from "node:test";
import { endText, lastFailure, nameOf, type SessionEnd, stayText } from "../src/format";
import type { Session } from "../src/messages";

const end = (some: Partial<SessionEnd>): SessionEnd => ({ code: null, signal: null, reason: null, ...some });

test("how a session ended is told with its own timeout, where that is known", () => {
  const timeouts = { idle_timeout_s: 1800, first_attach_timeout_s: 60 };
  const idle = end({ reason: "idle_timeout" });
  assert.equal(endText(idle, timeouts), "Ended: nobody was attached for 30 min.");
  assert.equal(endText(idle, { ...timeouts, idle_timeout_s: null }), "Ended: nobody was attached for too long.");
  assert.equal(endText(end({ reason: "first_attach_timeout" }), timeouts), "Ended: nobody attached within 1 min.");
  assert.equal(endText(end({ reason: "first_attach_timeout" })), "Ended: nobody attached in time.");
});

test("an exit code and a signal are told by number and by name", () => {
  assert.equal(endText(end({ reason: "exited", code: 3 })), "The process exited with code 3.");
  assert.equal(endText(end({ reason: "signaled", signal: 9 })), "The process was ended by SIGKILL.");
});

test("how long a session stays is told before one leaves it", () => {
  assert.equal(stayText({ idle_timeout_s: 1800 }), "stays 30 min after you leave");
  assert.equal(stayText({ idle_timeout_s: 28_800 }), "stays 8 h after you leave");
  assert.equal(stayText({ idle_timeout_s: null, idle_when: "detached_and_quiet" }), "kept for good");
  assert.equal(stayText({ idle_timeout_s: 1800, idle_when: "detached" }), "stays 30 min after you leave");
  assert.equal(stayText({ idle_timeout_s: 1800, idle_when: "detached_and_quiet" }), "stays 30 min after you leave and it is quiet");
});

const session = (some: object) => ({ name: null, profile: null, command: ["/bin/bash"], title: null, ...some }) as unknown as Session;

test("a session without a name is called after what runs in it and where", () => {
  const running = { state: "running", command: "EDITOR=vi /usr/bin/vim -p a b", last_exit: null };
  const home = { cwd_now: "/home/anna/src/stayd" };
  assert.equal(nameOf(session({ shell: running, ...home })), "vim · ~/src/stayd");
  assert.equal(nameOf(session({ shell: { ...running, state: "prompt" }, ...home })), "bash · ~/src/stayd");
  assert.equal(nameOf(session({ shell: { ...running, command: null }, cwd_now: "/root" })), "bash · ~");
  assert.equal(nameOf(session({ profile: "shell", cwd_now: "/rooted" })), "shell · /rooted");
  assert.equal(nameOf(session({})), "bash");
  assert.equal(nameOf(session({ name: "work", shell: running, ...home })), "work");
});

test("the last command's failure is told while no other runs", () => {
  const shell = { state: "prompt", last_exit: 2 };
  assert.equal(lastFailure(session({ shell })), 2);
  assert.equal(lastFailure(session({ shell: { ...shell, state: "running" } })), null);
  assert.equal(lastFailure(session({ shell: { ...shell, last_exit: 0 } })), null);
  assert.equal(lastFailure(session({})), null);
});
