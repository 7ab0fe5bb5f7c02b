// Time spans in words: how long ago, and how long until.

/** A time span in its largest unit; never less than a second. */
export function duration(ms: number): string {
  const s = Math.max(1, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

/** How long ago something was. It is short, since it stands at the end of every row. */
export function ago(ms: number): string {
  if (ms < 10_000) return "now";
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${Math.floor(s / 10) * 10} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} days`;
}

/** The time that is left: `0:09`, `29:41`, `7 h 05 min`, `6 days`. */
export function countdown(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  const minutes = Math.ceil(s / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return `${Math.floor(s / 86_400)} days`;
}

/** When something ends: the time, with the date if it is not today. */
export function untilText(at: string, now = new Date()): string {
  const end = new Date(at);
  const time = end.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return end.toDateString() === now.toDateString() ? time : `${end.toLocaleDateString([], { dateStyle: "medium" })}, ${time}`;
}
