// Puts a file into a session's directory, piece by piece, and goes on after an outage.

import { ApiError, cancelUpload, putPiece } from "./api";
import { delay } from "./backoff";

/** Bytes of a request: little enough for a slow line, and no more than the server takes. */
const PIECE = 512 << 10;
/** How long an upload waits for the server. */
const OUTAGE_MAX_MS = 60_000;

/** An upload was called off. */
export class Cancelled extends Error {}

/** Uploads a file under this name, and returns its path there. `progress` is called with the bytes that have
    come. Once `signal` is aborted it fails with `Cancelled`, and nothing is left of the file. */
export async function upload(
  session: string,
  file: Blob,
  name: string,
  progress: (received: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const piece = { name, upload: randomKey(), total: file.size };
  let offset = 0;
  let [attempt, lostAt] = [0, 0];
  for (;;) {
    try {
      signal.throwIfAborted();
      const { received, path } = await putPiece(session, { ...piece, offset }, file.slice(offset, offset + PIECE), signal);
      if (path !== undefined) return path;
      [offset, attempt, lostAt] = [received, 0, 0];
      progress(received);
    } catch (error) {
      const passing = error instanceof ApiError && error.passing && error.code !== "disk_full";
      if (lostAt === 0) lostAt = performance.now();
      const outage = performance.now() - lostAt;
      if (!signal.aborted && passing && outage < OUTAGE_MAX_MS) {
        // The server may have the piece already, and takes it once more.
        await new Promise((resolve) => setTimeout(resolve, delay(attempt, outage)));
        attempt += 1;
        continue;
      }
      // The first failure is the one to tell.
      await cancelUpload(session, piece).catch(() => {});
      throw signal.aborted ? new Cancelled() : error;
    }
  }
}

/** Names the upload; insecure contexts have no `randomUUID`. */
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
