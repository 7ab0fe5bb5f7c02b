// One finger on a touch screen, as the browser gets it from the system.

/** The time between two movements, in seconds, and their number in a slide. */
const STEP_S = 0.016;
const STEPS = 12;

export class Fingers {
  static async on(page) {
    const fingers = new Fingers();
    fingers.cdp = await page.context().newCDPSession(page);
    return fingers;
  }

  /** Does not wait for the browser: on a busy machine a finger that is to slide would rest meanwhile. */
  down(at) {
    this.at = at;
    this.time = Date.now() / 1000;
    this.isDown = this.send("touchStart", [at]);
  }

  /** Moves the finger to another place, in a fifth of a second of the events' own time. */
  async slide(to) {
    const from = this.at;
    for (let step = 1; step <= STEPS; step += 1) {
      const part = step / STEPS;
      this.at = { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
      this.time += STEP_S;
      await Promise.all([this.isDown, this.send("touchMove", [this.at])]);
    }
  }

  async up() {
    await this.isDown;
    await this.send("touchEnd", []);
  }

  async swipe(from, to) {
    this.down(from);
    await this.slide(to);
    await this.up();
  }

  async send(type, touchPoints) {
    await this.cdp.send("Input.dispatchTouchEvent", { type, touchPoints, timestamp: this.time });
  }
}
