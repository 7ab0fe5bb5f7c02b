// Creates and finds elements. All text comes onto the page through here, with nothing invisible in it.

import { visibleText } from "./visible";

/** The element of `index.html` with this id. */
export function byId<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element "${id}"`);
  return element as T;
}

/** A new element with a class and its text or children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children.map((child) => (typeof child === "string" ? visibleText(child) : child)));
  return element;
}

/** A button that calls `act`. */
export function button(text: string, className: string, act: () => void): HTMLButtonElement {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}

/** Sets an element's text if it differs: screen readers would read an unchanged text again. */
export function setText(element: HTMLElement, text: string): void {
  const shown = visibleText(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Sets an element's tooltip, which may have several lines. */
export function setTooltip(element: HTMLElement, ...lines: string[]): void {
  const shown = lines.map(visibleText).join("\n");
  if (element.title !== shown) element.title = shown;
}

/** Names an element for screen readers. */
export function setLabel(element: Element, text: string): void {
  element.setAttribute("aria-label", visibleText(text));
}

/** One of the icons in `index.html`. */
export function icon(name: string): SVGSVGElement {
  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(NS, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon instead of text. */
export function iconButton(name: string, className: string, act: () => void): HTMLButtonElement {
  const element = button("", `icon ${className}`, act);
  element.append(icon(name));
  return element;
}

/** Names an icon button, with a tooltip and for screen readers. */
export function setDescription(element: HTMLElement, text: string): void {
  setTooltip(element, text);
  setLabel(element, text);
}
