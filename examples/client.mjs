// A client of stayd in JavaScript (Node 20): `npm install ws`. docs/protocol.md explains each
// step.
//
//   STAYD_TOKEN=… node client.mjs NAME        STAYD_URL: the server, default http://127.0.0.1:7829
//
// It attaches to the session NAME, or starts it (profile STAYD_PROFILE, default shell), types
// standard input into it, prints the output, and exits with the session's exit code. It reconnects
// when the server restarts: every byte is typed once and printed once.

import { randomUUID } from "node:crypto";
import WebSocket from "ws";

const base = process.env.STAYD_URL ?? "http://127.0.0.1:7829";
const headers = { authorization: `Bearer ${process.env.STAYD_TOKEN}` };
const RETRY = [1001, 1005, 1006, 1011, 1012, 1013]; // after other codes, reconnecting is of no use

class Client {
  client = `example-${randomUUID()}`; // the same over reconnects, and no other client's
  session = null; // the session's id, once it is known
  offset = 0; // bytes of output that were printed
  kept = Buffer.alloc(0); // input that is not accepted yet
  accepted = 0; // offset of its first byte
  sent = 0; // how much of it was sent on this connection
  window = 0;
  restarts = 0; // how often the session's command was restarted
  wait = 50;
  code = null;

  constructor(name, profile) {
    Object.assign(this, { name, profile });
  }

  url() {
    const query = new URLSearchParams({ client: this.client });
    if (this.session) {
      query.set("session", this.session); // continue exactly after the last printed byte
      query.set("offset", this.offset);
    } else {
      query.set("create", this.profile);
    }
    const name = encodeURIComponent(this.session ?? this.name);
    return `${base.replace(/^http/, "ws")}/api/v1/sessions/${name}/attach?${query}`;
  }

  connect() {
    const socket = new WebSocket(this.url(), ["stayd.v1"], { headers, perMessageDeflate: false });
    this.snapshot = null;
    this.acked = this.offset;
    socket.on("open", () => (this.wait = 50));
    socket.on("unexpected-response", (_, { statusCode }) => {
      if (statusCode < 500) finish(1, `refused: ${statusCode}`); // not authorized
      socket.terminate(); // a proxy without a server
    });
    socket.on("error", () => {}); // "close" follows
    socket.on("message", (data, isBinary) => {
      if (isBinary) this.output(socket, data);
      else this.control(socket, JSON.parse(data));
    });
    socket.on("close", async (code, reason) => {
      this.window = 0;
      if (this.code !== null) finish(this.code);
      if (code === 4410 && this.session) finish(await this.recorded()); // it ended meanwhile
      if (!RETRY.includes(code)) finish(1, `closed: ${code} ${reason}`);
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(this.wait * 2, 1000);
    });
    this.socket = socket;
  }

  output(socket, data) {
    process.stdout.write(data);
    if (this.snapshot !== null) {
      this.offset = this.acked = this.snapshot; // a redrawn screen is not output
      this.snapshot = null;
      return;
    }
    this.offset += data.length;
    if (this.offset - this.acked >= 65536) {
      this.acked = this.offset;
      socket.send(JSON.stringify({ type: "ack", offset: this.acked }));
    }
  }

  control(socket, message) {
    switch (message.type) {
      case "attached":
        return this.attached(message); // its offset is ours, or else a snapshot follows
      case "snapshot":
        this.snapshot = message.offset;
        return process.stdout.write("\x18\x1b\\\x1bc"); // resets the terminal
      case "input":
        return this.accept(message.received);
      case "exit":
        return (this.code = exitCode(message.code, message.signal));
      case "error":
        return console.error(`${message.code}: ${message.message}`);
    }
  }

  attached({ session, input, input_window }) {
    const restarts = session.restarts ?? 0;
    if (this.session && restarts !== this.restarts) {
      this.kept = this.kept.subarray(this.sent); // that was for the previous run of the command
      this.accepted = input;
    }
    this.session = session.id;
    this.restarts = restarts;
    this.accepted = Math.min(this.accepted, input); // less: the server has started a new count
    this.sent = 0;
    this.window = input_window;
    this.accept(input);
  }

  async recorded() {
    const response = await fetch(`${base}/api/v1/sessions/${this.session}`, { headers });
    const { exit_code, exit_signal } = await response.json();
    return exitCode(exit_code, exit_signal);
  }

  type(data) {
    this.kept = Buffer.concat([this.kept, data]);
    this.sendTyped();
  }

  // The server has accepted `received` bytes in total, so they are no longer kept.
  accept(received) {
    const done = Math.max(0, Math.min(received - this.accepted, this.kept.length));
    this.kept = this.kept.subarray(done);
    this.sent = Math.max(0, this.sent - done);
    this.accepted = received;
    this.sendTyped();
  }

  // Sends what the window allows, in pieces of at most 16 KiB.
  sendTyped() {
    const end = Math.min(this.kept.length, this.window);
    while (this.sent < end) {
      const piece = this.kept.subarray(this.sent, Math.min(end, this.sent + 16384));
      this.sent += piece.length;
      this.socket.send(piece);
    }
  }
}

function exitCode(code, signal) {
  return code ?? 128 + (signal ?? 0);
}

function finish(code, why) {
  if (why) console.error(why);
  process.exit(code);
}

const client = new Client(process.argv[2], process.env.STAYD_PROFILE ?? "shell");
client.connect();
process.stdin.on("data", (data) => client.type(data));
