// Web push: the server tells this browser what needs somebody while no page is open.

import { dropSubscription, putSubscription, pushKey } from "./api";
import { loadSetting, saveSetting } from "./storage";

/** Under which id the server has this browser. */
const ID = "stayd-push";

/** Whether the browser has it: in secure contexts only, and on some phones only for installed pages. */
const isPossible = (): boolean => "serviceWorker" in navigator && "PushManager" in globalThis;

/** Subscribes at the browser's push service, and registers that with the server, also anew: a login ends
    what was registered with it. */
export async function startPush(): Promise<void> {
  if (!isPossible()) return;
  const { pushManager } = await navigator.serviceWorker.ready;
  const key = await pushKey();
  let subscription = await pushManager.getSubscription();
  if (subscription !== null && keyOf(subscription) !== key) {
    // It was made with the key of a server that was here before.
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const { endpoint = "", keys = {} } = subscription.toJSON();
  saveSetting(ID, await putSubscription(endpoint, { p256dh: keys["p256dh"] ?? "", auth: keys["auth"] ?? "" }));
}

/** Ends it, here and at the server. */
export async function stopPush(): Promise<void> {
  if (!isPossible()) return;
  const id = loadSetting(ID);
  saveSetting(ID, "");
  const { pushManager } = await navigator.serviceWorker.ready;
  await (await pushManager.getSubscription())?.unsubscribe();
  if (id !== null && id !== "") await dropSubscription(id);
}

/** The key with which a subscription was made, base64url. */
function keyOf({ options }: PushSubscription): string {
  const bytes = new Uint8Array(options.applicationServerKey ?? new ArrayBuffer(0));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
