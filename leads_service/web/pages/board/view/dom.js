// What every part of the page draws with: preact's elements, written as htm's templates.
import { Component, createRef, h, render } from "../vendor/preact.mjs";
import htm from "../vendor/htm.mjs";

export const html = htm.bind(h);
export { Component, createRef, render };

// Ends a form without sending it: the page speaks to the API itself.
export function onSubmit(act) {
  return (event) => {
    event.preventDefault();
    act(event);
  };
}
