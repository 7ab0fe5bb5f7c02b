// The server's events about all sessions. Browsers allow few connections to one server, so one tab
// listens and passes the events on to the others.

import type { SessionEvent } from "./messages";

const KINDS = ["created", "status", "ended", "renamed", "changed", "title", "bell", "notification", "command", "cwd", "quiet", "attention"];
const NAME = "stayd-events";
/** The listening tab sends a sign of life this often, and the others trust it for the second time. */
const PULSE_MS = 20_000;
const TRUSTED_MS = 75_000;
/** Wait after an answer that is no event stream. */
const RETRY_MS = 3000;

/** A message between tabs. */
type TabMessage = { is: "event"; event: SessionEvent } | { is: "reset" } | { is: "up" } | { is: "down" };

export interface EventStreamCallbacks {
  event(event: SessionEvent): void;
  /** Events may have been missed. */
  reset(): void;
  /** The stream has broken off, and resolves when it makes sense to open another one. */
  brokeOff(): Promise<void>;
}

export class EventStream {
  private readonly channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(NAME) : null;
  private source: EventSource | null = null;
  private receivedAt = -Infinity;

  constructor(private readonly callbacks: EventStreamCallbacks) {}

  /** Listens, or waits until no other tab does. */
  start(): void {
    if (this.channel === null || !navigator.locks) {
      // Tabs cannot share the stream here: only the visible tab listens.
      document.addEventListener("visibilitychange", () => this.listenWhileVisible());
      return this.listenWhileVisible();
    }
    this.channel.onmessage = ({ data }: MessageEvent<TabMessage>) => this.receive(data);
    // The lock is held until this tab closes. Then the next tab gets it.
    void navigator.locks.request(NAME, () => {
      setInterval(() => this.source?.readyState === EventSource.OPEN && this.broadcast({ is: "up" }), PULSE_MS);
      this.listen();
      return new Promise(() => {});
    });
  }

  /** Whether events arrive at present. */
  get isConnected(): boolean {
    if (this.source !== null) return this.source.readyState === EventSource.OPEN;
    return performance.now() - this.receivedAt < TRUSTED_MS;
  }

  private listenWhileVisible(): void {
    const wanted = document.visibilityState === "visible";
    if (wanted && this.source === null) this.listen();
    if (!wanted) {
      this.source?.close();
      this.source = null;
    }
  }

  private listen(): void {
    const source = new EventSource("api/v1/events");
    this.source = source;
    let first = true;
    source.onopen = () => {
      this.broadcast({ is: "up" });
      // Only the first time: after a reconnect the server says itself whether events were missed.
      if (first) this.broadcast({ is: "reset" });
      first = false;
    };
    source.onerror = () => {
      if (this.source !== source) return;
      this.broadcast({ is: "down" });
      // Without a login, the server answers no stream however often it is asked.
      const listen = () => this.source === source && this.listen();
      if (source.readyState === EventSource.CLOSED) setTimeout(() => void this.callbacks.brokeOff().then(listen, listen), RETRY_MS);
    };
    source.addEventListener("reset", () => this.broadcast({ is: "reset" }));
    for (const kind of KINDS) {
      source.addEventListener(`session.${kind}`, ({ data }: MessageEvent<string>) => {
        this.broadcast({ is: "event", event: { ...(JSON.parse(data) as SessionEvent), kind } });
      });
    }
  }

  private broadcast(message: TabMessage): void {
    this.channel?.postMessage(message);
    this.receive(message);
  }

  private receive(message: TabMessage): void {
    this.receivedAt = message.is === "down" ? -Infinity : performance.now();
    if (message.is === "down") void this.callbacks.brokeOff().catch(() => {});
    if (message.is === "event") this.callbacks.event(message.event);
    else if (message.is !== "up") this.callbacks.reset();
  }
}
