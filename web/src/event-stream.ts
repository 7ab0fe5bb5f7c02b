// What happens to the sessions, as the server tells it. Browsers open few connections to one
// server at once, so one tab listens for all of them and hands on what it hears.

import type { SessionEvent } from "./messages";

const KINDS = ["created", "status", "ended", "renamed", "changed", "title", "bell", "notification", "command", "cwd", "quiet"];
const NAME = "stayd-events";
/** How often the listening tab says that it hears, and how long that is believed. */
const PULSE_MS = 20_000;
const TRUSTED_MS = 75_000;
/** After an answer that was no stream (not signed in, say). */
const RETRY_MS = 3000;

/** What tabs say to each other. */
type TabMessage = { is: "event"; event: SessionEvent } | { is: "reset" } | { is: "up" } | { is: "down" };

export interface EventStreamCallbacks {
  event(event: SessionEvent): void;
  /** Events may have been missed. */
  reset(): void;
}

export class EventStream {
  private readonly channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(NAME) : null;
  private source: EventSource | null = null;
  private receivedAt = -Infinity;

  constructor(private readonly callbacks: EventStreamCallbacks) {}

  /** Listens, or lets another tab do it. */
  start(): void {
    if (this.channel === null || !navigator.locks) {
      // No way to share: only the tab that is looked at listens.
      document.addEventListener("visibilitychange", () => this.listenWhileVisible());
      return this.listenWhileVisible();
    }
    this.channel.onmessage = ({ data }: MessageEvent<TabMessage>) => this.receive(data);
    // Held until this tab goes; then the next one gets it.
    void navigator.locks.request(NAME, () => {
      setInterval(() => this.source?.readyState === EventSource.OPEN && this.broadcast({ is: "up" }), PULSE_MS);
      this.listen();
      return new Promise(() => {});
    });
  }

  /** Whether what happens is heard of at the moment. */
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
    const source = new EventSource("/api/v1/events");
    this.source = source;
    let first = true;
    source.onopen = () => {
      this.broadcast({ is: "up" });
      // Later the server itself says whether anything was missed.
      if (first) this.broadcast({ is: "reset" });
      first = false;
    };
    source.onerror = () => {
      if (this.source !== source) return;
      this.broadcast({ is: "down" });
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.source === source && this.listen(), RETRY_MS);
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
    if (message.is === "event") this.callbacks.event(message.event);
    else if (message.is !== "up") this.callbacks.reset();
  }
}
