// Whether somebody looks at this page: its window is in front and has the focus, as far as the browser knows.

/** Whether somebody looks at the page now. */
export const isLooking = (): boolean => document.visibilityState === "visible" && document.hasFocus();

/** Tells when it changes. The function that is returned ends that. */
export function watchLooking(changed: (looking: boolean) => void): () => void {
  let before = isLooking();
  const check = () => {
    const now = isLooking();
    if (now === before) return;
    before = now;
    changed(now);
  };
  document.addEventListener("visibilitychange", check);
  addEventListener("focus", check);
  addEventListener("blur", check);
  return () => {
    document.removeEventListener("visibilitychange", check);
    removeEventListener("focus", check);
    removeEventListener("blur", check);
  };
}
