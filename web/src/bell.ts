// The bell of the open session: nothing, a flash or a tone, as the settings say.

import { settings } from "./settings";

/** A program that rings again and again is heard once in this time. */
const PAUSE_MS = 250;
const TONE_HZ = 660;
const TONE_S = 0.12;

let lastAt = -Infinity;
let audio: AudioContext | null = null;

/** Rings the bell of the terminal in this element. */
export function ring(frame: HTMLElement): void {
  const { bell } = settings.current;
  const now = performance.now();
  if (bell === "off" || now - lastAt < PAUSE_MS) return;
  lastAt = now;
  if (bell === "visual") flash(frame);
  else sound();
}

function flash(frame: HTMLElement): void {
  frame.classList.remove("rings");
  // Without this the browser would not start the animation again.
  void frame.offsetWidth;
  frame.classList.add("rings");
  frame.addEventListener("animationend", () => frame.classList.remove("rings"), { once: true });
}

function sound(): void {
  audio ??= new AudioContext();
  // Browsers let a page sound only after a click or a key.
  if (audio.state === "suspended") void audio.resume();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  const { currentTime } = audio;
  tone.frequency.value = TONE_HZ;
  volume.gain.setValueAtTime(0.12, currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, currentTime + TONE_S);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(currentTime + TONE_S);
}
