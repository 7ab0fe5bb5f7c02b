// A line between the page and the server that a test makes slow, or stops.

import { createServer, connect } from "node:net";

export class Line {
  /** A port of its own that leads to this address. */
  static async to(address) {
    const line = new Line();
    line.delay = 0;
    line.frozen = null;
    const [host, port] = address.split(":");
    line.sockets = new Set();
    line.server = createServer((near) => {
      const far = connect(Number(port), host);
      line.#forward(near, far);
      line.#forward(far, near);
    });
    await new Promise((resolve) => line.server.listen(0, "127.0.0.1", resolve));
    line.origin = `http://127.0.0.1:${line.server.address().port}`;
    return line;
  }

  /** Nothing passes any more, and nobody is told. */
  freeze() {
    this.frozen = new Promise((resolve) => (this.thaw = () => {
      this.frozen = null;
      resolve();
    }));
  }

  close() {
    this.thaw?.();
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  /** Passes on what comes, in order, each piece late. */
  #forward(from, to) {
    this.sockets.add(from);
    let queue = Promise.resolve();
    const late = (act) => {
      const due = Date.now() + this.delay;
      queue = queue.then(async () => {
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - Date.now())));
        await this.frozen;
        act();
      });
    };
    from.on("data", (data) => late(() => to.write(data)));
    from.on("end", () => late(() => to.end()));
    from.on("error", () => to.destroy());
    from.on("close", () => this.sockets.delete(from));
  }
}
