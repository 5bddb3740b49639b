"use strict";
// Swagger UI leaves some controls without a name, which makes them hard to use with a screen
// reader. This gives them one.

// labelControls names what is in the element, now and whenever it changes.
function labelControls(element) {
  let waiting = false;
  const label = () => {
    waiting = false;
  };
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(label);
  }).observe(element, { childList: true, subtree: true });
}
