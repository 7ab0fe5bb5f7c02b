// A dialog with a form. It keeps what was typed, and stays open, until the request has worked.

import { byId, setText } from "./dom";

/** Shows the dialog `ID` with its `ID-form`, `ID-error`, `ID-yes` and `ID-no`. `send` makes the request
    and throws what the dialog shows as the error. Resolves to whether the request worked. */
export function submitDialog(id: string, send: () => Promise<void>): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>(id);
  const form = byId<HTMLFormElement>(`${id}-form`);
  const error = byId(`${id}-error`);
  const yes = byId<HTMLButtonElement>(`${id}-yes`);
  setText(error, "");
  yes.disabled = false;
  dialog.returnValue = "";
  dialog.showModal();
  byId(`${id}-no`).onclick = () => dialog.close("");
  form.onsubmit = (event) => {
    event.preventDefault();
    if (yes.disabled) return;
    yes.disabled = true;
    setText(error, "");
    send()
      .then(() => dialog.close("yes"))
      .catch((problem: unknown) => {
        setText(error, problem instanceof Error ? problem.message : String(problem));
        error.scrollIntoView({ block: "nearest" });
      })
      .finally(() => (yes.disabled = false));
  };
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
