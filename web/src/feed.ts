// What happens to the sessions, as the server tells it. Browsers open few connections to one
// server at once, so one tab listens for all of them and hands on what it hears.

import type { Happening } from "./messages";

const KINDS = ["created", "status", "ended", "renamed", "changed", "title", "bell", "notification", "command", "cwd", "quiet"];
const NAME = "stayd-events";
/** How often the listening tab says that it hears, and how long that is believed. */
const PULSE_MS = 20_000;
const BELIEVED_MS = 75_000;
/** After an answer that was no stream (not signed in, say). */
const AGAIN_MS = 3000;

/** What tabs say to each other. */
type Word = { is: "event"; event: Happening } | { is: "reset" } | { is: "up" } | { is: "down" };

export interface Owner {
  event(event: Happening): void;
  /** Events may have been missed. */
  reset(): void;
}

export class Feed {
  private readonly channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(NAME) : null;
  private source: EventSource | null = null;
  private heardAt = -Infinity;

  constructor(private readonly owner: Owner) {}

  /** Listens, or lets another tab do it. */
  start(): void {
    if (this.channel === null || !navigator.locks) {
      // No way to share: only the tab that is looked at listens.
      document.addEventListener("visibilitychange", () => this.alone());
      return this.alone();
    }
    this.channel.onmessage = ({ data }: MessageEvent<Word>) => this.hear(data);
    // Held until this tab goes; then the next one gets it.
    void navigator.locks.request(NAME, () => {
      setInterval(() => this.source?.readyState === EventSource.OPEN && this.say({ is: "up" }), PULSE_MS);
      this.listen();
      return new Promise(() => {});
    });
  }

  /** Whether what happens is heard of at the moment. */
  get hears(): boolean {
    if (this.source !== null) return this.source.readyState === EventSource.OPEN;
    return performance.now() - this.heardAt < BELIEVED_MS;
  }

  private alone(): void {
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
      this.say({ is: "up" });
      // Later the server itself says whether anything was missed.
      if (first) this.say({ is: "reset" });
      first = false;
    };
    source.onerror = () => {
      if (this.source !== source) return;
      this.say({ is: "down" });
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.source === source && this.listen(), AGAIN_MS);
    };
    source.addEventListener("reset", () => this.say({ is: "reset" }));
    for (const kind of KINDS) {
      source.addEventListener(`session.${kind}`, ({ data }: MessageEvent<string>) => {
        this.say({ is: "event", event: { ...(JSON.parse(data) as Happening), kind } });
      });
    }
  }

  private say(word: Word): void {
    this.channel?.postMessage(word);
    this.hear(word);
  }

  private hear(word: Word): void {
    this.heardAt = word.is === "down" ? -Infinity : performance.now();
    if (word.is === "event") this.owner.event(word.event);
    else if (word.is !== "up") this.owner.reset();
  }
}
