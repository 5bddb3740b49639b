"use strict";
// Swagger UI leaves some controls without a name, and some parts out of reach of the keyboard. This
// puts it right. The colours are in page.css.

// labelControls looks after what is in the element, now and whenever it changes.
function labelControls(element) {
  let waiting = false;
  const label = () => {
    waiting = false;
    for (const [selector, repair] of repairs) element.querySelectorAll(selector).forEach(repair);
  };
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(label);
  }).observe(element, { childList: true, subtree: true });
}

function named(text) {
  return (element) => element.setAttribute("aria-label", text);
}

function region(text) {
  return (element) => {
    element.setAttribute("role", "region");
    named(text)(element);
  };
}

// repairs are selectors, and what each element that they find needs.
const repairs = [
  ["#servers:not([aria-label])", named("Server")],
  [".opblock-body textarea:not([aria-label])", named("Body of the request")],
  // The controls of a parameter are called what the parameter is.
  ["[data-param-name] :is(input, select, textarea):not([aria-label])", (control) => named(control.closest("[data-param-name]").dataset.paramName)(control)],
  // What scrolls has to be reached by the keyboard.
  ["pre.microlight:not([tabindex])", (text) => (text.tabIndex = 0)],
  ["button.json-schema-2020-12-accordion:not([aria-label])", (button) => button.textContent === "" && named("Show or hide the schema")(button)],
  // Swagger UI has only the calls in its main part.
  [".information-container:not([role])", region("About the API")],
  [".scheme-container:not([role])", region("Where the API is")],
  // The first heading is the page's.
  [".info h1.title:not([aria-level])", (heading) => heading.setAttribute("aria-level", "2")],
  // A table of each open call would be a part of the page of the same name.
  ["table.responses-table[role]", (table) => table.removeAttribute("role")],
];

// plainLinks is a plugin of Swagger UI. It makes text of a link within a button, which cannot be
// reached by the keyboard. The button does the same, and changes the address, too.
const plainLinks = {
  wrapComponents: {
    DeepLink: (_, { React }) =>
      function PlainLink({ text }) {
        return React.createElement("span", null, text);
      },
  },
};
