// A real nats-server, through which the machines of a fleet find each other.

import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, PATIENCE_MS } from "./support.js";

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../target", import.meta.url));
/** What `scripts/test` installs, otherwise the system's. */
const program = [join(target, "nats-venv/bin/nats-server"), "nats-server"].find((one) => spawnSync(one, ["-v"]).status === 0);

/** False where there is none; an error where the tests must have one. */
export function hasNats() {
  if (program === undefined && process.env.STAYD_REQUIRE_NATS) throw new Error("there is no nats-server");
  return program !== undefined;
}

export class Nats {
  /** Starts a server on a free port. */
  static async start() {
    const nats = new Nats();
    nats.dir = await mkdtemp(join(tmpdir(), "stayd-nats-"));
    nats.port = -1;
    await nats.up();
    return nats;
  }

  /** Starts the process, at the port that it had before. */
  async up() {
    const args = ["-a", "127.0.0.1", "-p", String(this.port), "-js", "-sd", this.dir, "--ports_file_dir", this.dir];
    this.child = spawn(program, args, { stdio: "ignore" });
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    const file = join(this.dir, `nats-server_${this.child.pid}.ports`);
    this.url = await eventually("nats-server listens", async () => {
      if (this.child.exitCode !== null) throw new Error("nats-server ended");
      if (!(await readdir(this.dir)).includes(file.split("/").at(-1))) return false;
      return JSON.parse(await readFile(file, "utf8")).nats[0];
    });
    this.port = Number(new URL(this.url).port);
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  async stop() {
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), PATIENCE_MS);
    await this.exited;
    clearTimeout(timer);
    await rm(this.dir, { recursive: true, force: true });
  }
}
