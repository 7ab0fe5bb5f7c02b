// Files and pictures that are dropped or pasted onto the terminal: they are uploaded into the session's
// directory, and their paths are typed.

import { byId, button, make, setText } from "./dom";
import { commandLine } from "./argv";
import { Cancelled, upload } from "./upload";

const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

export interface FileDropCallbacks {
  /** Types the paths of the uploaded files. */
  paste(text: string): void;
  trouble(text: string): void;
}

/** Lets files be dropped and pasted onto a session's frame. */
export class FileDrop {
  private readonly calledOff = new AbortController();

  constructor(
    frame: HTMLElement,
    private readonly session: string,
    private readonly callbacks: FileDropCallbacks,
  ) {
    const hasFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      frame.classList.add("receives");
    };
    const { signal } = this.calledOff;
    frame.addEventListener("dragenter", over, { signal });
    frame.addEventListener("dragover", over, { signal });
    frame.addEventListener(
      "dragleave",
      ({ relatedTarget }) => {
        if (!frame.contains(relatedTarget as Node | null)) frame.classList.remove("receives");
      },
      { signal },
    );
    frame.addEventListener(
      "drop",
      (event) => {
        frame.classList.remove("receives");
        if (!hasFiles(event)) return;
        event.preventDefault();
        void this.take(filesOf(event.dataTransfer));
      },
      { signal },
    );
    frame.addEventListener(
      "paste",
      (event) => {
        const { clipboardData } = event;
        // A picture that is also text, a cell of a table for example, is pasted as text.
        if (clipboardData === null || clipboardData.files.length === 0 || clipboardData.getData("text/plain") !== "") return;
        event.preventDefault();
        event.stopPropagation();
        void this.take([...clipboardData.files].map(named));
      },
      { signal, capture: true },
    );
  }

  /** The session is left. Uploads go on, and type nothing. */
  dispose(): void {
    this.calledOff.abort();
  }

  private async take(files: File[]): Promise<void> {
    if (files.length === 0) return this.callbacks.trouble("Folders cannot be uploaded, only files.");
    const paths: string[] = [];
    for (const file of files) {
      const row = new UploadRow(file);
      try {
        paths.push(await upload(this.session, file, file.name, (received) => row.show(received), row.signal));
      } catch (error) {
        if (!(error instanceof Cancelled)) this.callbacks.trouble(`${file.name} was not uploaded: ${error instanceof Error ? error.message : error}`);
      } finally {
        row.remove();
      }
    }
    if (paths.length === 0 || this.calledOff.signal.aborted) return;
    // A shell would take a control character for a key: a directory's name must not run commands.
    if (paths.some((path) => CONTROL.test(path))) this.callbacks.trouble("The files were uploaded. Their directory's name has control characters, so their paths are not typed.");
    else this.callbacks.paste(`${commandLine(paths)} `);
  }
}

/** The progress of an upload, with a button that calls it off. */
class UploadRow {
  private readonly controller = new AbortController();
  private readonly bar = make("progress");
  private readonly element: HTMLElement;

  constructor(file: File) {
    this.bar.max = Math.max(1, file.size);
    this.bar.value = 0;
    const name = make("span", "upload-name");
    setText(name, `Uploading ${file.name}`);
    this.element = make("li", "upload", name, this.bar, button("Cancel", "quiet", () => this.controller.abort()));
    byId("uploads").append(this.element);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  show(received: number): void {
    this.bar.value = received;
  }

  remove(): void {
    this.element.remove();
  }
}

/** The dropped files, without folders. */
function filesOf(data: DataTransfer | null): File[] {
  const items = [...(data?.items ?? [])].filter(({ kind }) => kind === "file");
  return items.flatMap((item) => (item.webkitGetAsEntry()?.isDirectory ? [] : (item.getAsFile() ?? [])));
}

/** A pasted picture has no name of its own: it gets one with the time. */
function named(file: File): File {
  if (file.name !== "image.png") return file;
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[:T]/g, "-");
  return new File([file], `pasted-${time}.png`, { type: file.type });
}
