// Signing in: with the token from the address, with the one used before, or by a form.

import { ApiError, login } from "./api";
import { byId, setText } from "./dom";

/** Kept while the page lives, for a server that has forgotten the login (its file is gone). */
let lastToken: string | null = null;
let asking: Promise<void> | null = null;
/** Puts the open form away, whoever signed in. */
let closeForm: (() => void) | null = null;

/** Signs in with a token; false if it is not the server's. */
export async function signIn(token: string): Promise<boolean> {
  try {
    await login(token);
    lastToken = token;
    closeForm?.();
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.unauthorized) return false;
    throw error;
  }
}

/** Makes a call; if the server does not know us (any more), signs in and makes it again. */
export async function authorized<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ApiError && error.unauthorized)) throw error;
    }
    if (lastToken !== null && (await signIn(lastToken))) continue;
    lastToken = null;
    await askForToken();
  }
}

/** Shows the form until a token was good. */
export function askForToken(complaint = ""): Promise<void> {
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
    // There is nothing behind the form without a login, so it does not go away unanswered.
    dialog.onclose = () => dialog.showModal();
    byId<HTMLFormElement>("login-form").onsubmit = (event) => {
      event.preventDefault();
      button.disabled = true;
      signIn(tokenIn(field.value))
        .then((good) => {
          if (!good) complain("This is not the server's token. Run “stayd url” to get the current one.");
        })
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

/** People paste the whole URL as well. */
function tokenIn(text: string): string {
  const trimmed = text.trim();
  return /[#&]token=([^&\s]+)/.exec(trimmed)?.[1] ?? trimmed;
}
