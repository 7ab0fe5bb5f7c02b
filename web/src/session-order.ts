// The order of the list: newest first, until the user has put a session to another place.

/** Sessions in the user's order. Those that have no place in it yet come first, as they are given. */
export function arranged<T extends { id: string }>(sessions: readonly T[], order: readonly string[]): T[] {
  const place = new Map(order.map((id, at) => [id, at]));
  const placed = sessions.filter(({ id }) => place.has(id));
  placed.sort((a, b) => (place.get(a.id) ?? 0) - (place.get(b.id) ?? 0));
  return [...sessions.filter(({ id }) => !place.has(id)), ...placed];
}

/** The ids with one of them moved before another; null: to the end. */
export function moved(ids: readonly string[], id: string, before: string | null): string[] {
  if (id === before) return [...ids];
  const rest = ids.filter((one) => one !== id);
  const at = before === null ? -1 : rest.indexOf(before);
  return at < 0 ? [...rest, id] : [...rest.slice(0, at), id, ...rest.slice(at)];
}

/** The order that was stored. What makes no sense is no order. */
export function parseOrder(text: string | null): string[] {
  try {
    const stored: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(stored) ? stored.filter((id): id is string => typeof id === "string") : [];
  } catch {
    return [];
  }
}
