// The dialog that starts a session from a profile or a command, with all its settings.

import { ApiError, createSession, listProfiles, type NewSession } from "./api";
import { argv, commandLine } from "./argv";
import { submitDialog } from "./dialog-form";
import { byId, setText } from "./dom";
import { parseLabels } from "./labels";
import { authorized } from "./login";
import type { FleetState, Profile, Recording, Restart, Session, SizePolicy } from "./messages";
import { BY_LABELS, machineOf, placeChoices, placement, placeValue } from "./placement";
import { fillSelect, RECORDINGS, RESTARTS, SIZES } from "./select-options";

/** The profile that every server has. */
const SHELL: Profile = { name: "shell", command: [], cwd: null };

const field = (id: string) => byId<HTMLInputElement>(`create-${id}`);
const choice = (id: string) => byId<HTMLSelectElement>(`create-${id}`);

/** The profiles; null from an older server, which knows neither restart policies nor recordings. */
async function fetchProfiles(machine: string | null): Promise<Profile[] | null> {
  try {
    return await authorized(() => listProfiles(machine));
  } catch {
    return null;
  }
}

/** Shows the dialog, with these labels, and starts the session; null if the user cancels. In a fleet it asks for
    the machine, too; `elsewhere`: that first. */
export async function create(labels = "", fleet: FleetState | null = null, elsewhere = false): Promise<Session | null> {
  const byProfile = field("by-profile");
  const byCommand = field("by-command");
  const command = field("command");
  const profile = choice("profile");
  const place = choice("place");
  let profiles = [SHELL];

  const show = () => {
    byId("create-place-labels-field").hidden = place.value !== BY_LABELS;
    byId("create-profile-field").hidden = !byProfile.checked;
    byId("create-command-field").hidden = byProfile.checked;
    const one = profiles.find(({ name }) => name === profile.value);
    setText(byId("create-profile-hint"), one === undefined ? "" : commandLine(one.command));
  };
  const choose = () => {
    fillSelect(profile, profiles.map(({ name }) => [name, name]), profile.value === "" ? SHELL.name : profile.value);
    show();
  };
  fillSelect(choice("size"), [["", "default"], ...SIZES], "");
  fillSelect(choice("restart"), [["", "default"], ...RESTARTS], "");
  fillSelect(choice("recording"), [["", "default"], ...RECORDINGS], "");
  byId("create-policies").hidden = true;
  for (const id of ["command", "name", "cwd"]) field(id).value = "";
  field("labels").value = labels;
  field("pin").checked = false;
  byCommand.checked = true;
  byProfile.onchange = () => (show(), profile.focus());
  byCommand.onchange = () => (show(), command.focus());
  profile.onchange = show;
  fillSelect(place, fleet === null ? [["", ""]] : placeChoices(fleet), fleet === null ? "" : placeValue(fleet, null));
  field("place-labels").value = "";
  byId("create-place-field").hidden = fleet === null;
  choose();
  // The profiles arrive while the dialog is already open. Those of another machine are its own.
  const fetchThose = async (): Promise<void> => {
    const machine = machineOf(place.value);
    const fetched = await fetchProfiles(machine);
    if (machine !== machineOf(place.value)) return;
    profiles = fetched !== null && fetched.length > 0 ? fetched : [SHELL];
    byId("create-policies").hidden = fetched === null;
    choose();
  };
  void fetchThose();
  place.onchange = () => (show(), void fetchThose());

  let started: Session | null = null;
  const answer = submitDialog("create", async () => {
    const wanted: NewSession = byProfile.checked ? { profile: profile.value } : { command: argv(command.value) };
    Object.assign(wanted, placement(place.value, field("place-labels").value));
    const [name, cwd] = [field("name").value.trim(), field("cwd").value.trim()];
    if (name !== "") wanted.name = name;
    if (cwd !== "") wanted.cwd = cwd;
    const labels = parseLabels(field("labels").value);
    if (Object.keys(labels).length > 0) wanted.labels = labels;
    if (field("pin").checked) wanted.idle_timeout_s = null;
    if (choice("size").value !== "") wanted.size_policy = choice("size").value as SizePolicy;
    if (choice("restart").value !== "") wanted.restart = choice("restart").value as Restart;
    if (choice("recording").value !== "") wanted.recording = choice("recording").value as Recording;
    started = await authorized(() => createSession(wanted)).catch((error: unknown) => {
      throw new Error(createProblem(error));
    });
  });
  (elsewhere && fleet !== null ? place : command).focus();
  return (await answer) ? started : null;
}

/** Why a session could not be started. */
export function createProblem(error: unknown): string {
  if (error instanceof ApiError && error.code === "spawn_failed") {
    return `The command could not be started: ${error.message}`;
  }
  return error instanceof Error ? error.message : String(error);
}

/** The settings of another session like this one. The name is left out: it is in use. */
export function requestLike(session: Session): NewSession {
  const { cwd, labels, idle_timeout_s, size_policy } = session;
  const wanted: NewSession = { cwd, labels, idle_timeout_s, size_policy };
  if (session.profile !== null) wanted.profile = session.profile;
  else wanted.command = session.command;
  if (session.idle_when !== undefined) wanted.idle_when = session.idle_when;
  if (session.restart !== undefined) wanted.restart = session.restart;
  if (session.recording !== undefined) wanted.recording = session.recording;
  if (session.node !== undefined) wanted.node = session.node;
  return wanted;
}
