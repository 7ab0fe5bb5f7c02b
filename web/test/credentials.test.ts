import assert from "node:assert/strict";
import { test } from "node:test";
import { credentialIn, credentialInAddress, refusalText } from "../src/credentials";

test("a credential is found in an address, in its fragment and alone", () => {
  assert.deepEqual(credentialInAddress("#code=a-b_c"), { kind: "code", secret: "a-b_c" });
  assert.deepEqual(credentialInAddress("#/s/work&token=x.y~z"), { kind: "token", secret: "x.y~z" });
  assert.deepEqual(credentialIn("  http://127.0.0.1:7829/#share=abc \n"), { kind: "share", secret: "abc" });
  assert.deepEqual(credentialIn(" abc "), { kind: "token", secret: "abc" });
  assert.deepEqual(credentialInAddress("#token="), { kind: "token", secret: "" });
  for (const none of ["", "#/s/token", "#/tokens", "?token=x"]) assert.equal(credentialInAddress(none), null);
});

test("a refusal says what to do", () => {
  assert.match(refusalText({ kind: "code", secret: "" }), /used already.*stayd url/);
  assert.match(refusalText({ kind: "token", secret: "" }), /stayd url/);
  assert.match(refusalText({ kind: "share", secret: "" }), /^This link has ended\./);
});
