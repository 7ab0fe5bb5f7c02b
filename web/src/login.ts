// Signs in: with what is in the address, or with the form. Knows whom the server takes this page for.

import { ApiError, login, whoAmI } from "./api";
import { type Credential, credentialIn, refusalText } from "./credentials";
import { byId, setText } from "./dom";
import type { Principal } from "./messages";
import { confirmed } from "./panel";
import { whoText } from "./rights";
import { takeCredential } from "./route";

/** Whom the page has been shown for. */
let principal: Principal | null = null;
let asking: Promise<void> | null = null;
/** Closes the form once a login has worked, by whatever way. */
let closeForm: (() => void) | null = null;

/** Asks whom the server takes this page for; signs in first, where that is needed. */
export async function identify(): Promise<Principal> {
  principal = await authorized(whoAmI);
  return principal;
}

/** Signs in. Null if it has worked, otherwise why the server refuses. */
async function signIn(credential: Credential): Promise<string | null> {
  try {
    await login(credential);
  } catch (error) {
    if (error instanceof ApiError && error.unauthorized) return refusalText(credential);
    throw error;
  }
  if (principal !== null) await checkIdentity();
  closeForm?.();
  return null;
}

/** Asks whether this page still speaks for the same one: another tab may have signed in. Somebody else
    has other sessions and other rights, so the page begins anew. */
async function checkIdentity(): Promise<void> {
  const now = await whoAmI();
  if (principal === null || isSame(principal, now)) return;
  location.reload();
  await new Promise(() => {});
}

/** The user is back at this tab, and may have signed in or out in another one. */
export async function returned(): Promise<void> {
  if (document.visibilityState !== "visible") return;
  await checkIdentity().then(() => closeForm?.(), () => {});
}

const isSame = (one: Principal, other: Principal): boolean =>
  JSON.stringify([one.kind, one.name, one.role, one.scope]) === JSON.stringify([other.kind, other.name, other.role, other.scope]);

/** Signs in with what is in the address. It leaves the address first of all. */
export async function signInFromAddress(trouble: (text: string) => void): Promise<void> {
  const credential = takeCredential();
  if (credential === null) return;
  let refused: string | null;
  try {
    if (credential.kind === "share" && !(await givesUpLogin())) return;
    refused = await signIn(credential);
  } catch (error) {
    return trouble(`Could not sign in: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (refused === null) return;
  // The address of `stayd url`, opened once more where its login still lasts.
  if (credential.kind === "code" && (await whoAmI().catch(() => null))?.kind === "owner") return;
  await askToSignIn(refused);
}

/** A browser has one login for all tabs: a share link takes the place of one that may do more. Asks first. */
async function givesUpLogin(): Promise<boolean> {
  const now = await whoAmI().catch(() => null);
  if (now === null || now.kind === "share") return true;
  const text = `This browser is signed in: ${whoText(now)}. The link would sign it out, in every tab, and open its one session.`;
  return confirmed("Open the shared link?", text, "Open the link");
}

/** Makes a call. If there is no login, or not any more, it asks to sign in and makes the call again. */
export async function authorized<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    // While the form is shown, the server would refuse.
    if (asking !== null) await asking;
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ApiError && error.unauthorized)) throw error;
    }
    await askToSignIn(lossText());
  }
}

/** What has happened to a login that was good before. */
function lossText(): string {
  if (principal === null) return "";
  return principal.kind === "share" ? "The link has ended." : "You are signed out.";
}

/** Shows the form until somebody has signed in. */
function askToSignIn(complaint: string): Promise<void> {
  asking ??= form(complaint).finally(() => (asking = null));
  return asking;
}

function form(complaint: string): Promise<void> {
  const dialog = byId<HTMLDialogElement>("login");
  const field = byId<HTMLInputElement>("login-token");
  const button = byId<HTMLButtonElement>("login-send");
  const error = byId("login-error");
  const complain = (text: string) => {
    setText(error, text);
    field.toggleAttribute("aria-invalid", text !== "");
  };
  complain(complaint);
  field.removeAttribute("aria-invalid");
  field.value = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    closeForm = () => {
      closeForm = null;
      dialog.onclose = null;
      dialog.close();
      resolve();
    };
    // The page is useless without a login, so the form cannot be dismissed.
    dialog.onclose = () => dialog.showModal();
    byId<HTMLFormElement>("login-form").onsubmit = (event) => {
      event.preventDefault();
      button.disabled = true;
      signIn(credentialIn(field.value))
        .then((refused) => refused !== null && complain(refused))
        .catch((problem: unknown) => {
          complain(problem instanceof Error ? problem.message : "Signing in did not work.");
        })
        .finally(() => {
          button.disabled = false;
          if (dialog.open) field.focus();
        });
    };
  });
}
