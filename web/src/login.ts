// Signs in: with the token in the address, with the one used before, or with the form.

import { ApiError, login } from "./api";
import { byId, setText } from "./dom";

/** The last valid token, for a server that has forgotten the login because its file is gone. */
let lastToken: string | null = null;
let asking: Promise<void> | null = null;
/** Closes the form once a login has worked, by whatever way. */
let closeForm: (() => void) | null = null;

/** Signs in with a token; false if the server refuses it. */
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

/** Makes a call. If the server does not know the login, it signs in and makes the call again. */
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

/** Shows the form until a token is accepted. */
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
    // The page is useless without a login, so the form cannot be dismissed.
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

/** The token itself, or the one in a pasted URL. */
function tokenIn(text: string): string {
  const trimmed = text.trim();
  return /[#&]token=([^&\s]+)/.exec(trimmed)?.[1] ?? trimmed;
}
