// Sessions are dragged: within the list to another place, and from the list onto a pane.

/** The type under which a session's id is dragged. */
const TYPE = "application/x-stayd-session";

/** Lets the user drag a session. */
export function makeDraggable(element: HTMLElement, id: string): void {
  element.draggable = true;
  element.addEventListener("dragstart", (event) => {
    event.dataTransfer?.setData(TYPE, id);
    if (event.dataTransfer !== null) event.dataTransfer.effectAllowed = "move";
  });
}

/** Takes sessions that are dragged here. `over` shows where one would go, and null that none is there. */
export function takeDropped(element: HTMLElement, over: (event: DragEvent | null) => void, drop: (id: string, event: DragEvent) => void): void {
  element.addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes(TYPE) !== true) return;
    event.preventDefault();
    over(event);
  });
  element.addEventListener("dragleave", (event) => !element.contains(event.relatedTarget as Node | null) && over(null));
  element.addEventListener("drop", (event) => {
    const id = event.dataTransfer?.getData(TYPE) ?? "";
    over(null);
    if (id === "") return;
    event.preventDefault();
    drop(id, event);
  });
}
