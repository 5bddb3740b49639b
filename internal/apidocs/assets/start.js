"use strict";
// The page shows the document that the body names. It asks no other host for anything.
window.addEventListener("load", () => {
  const url = document.body.dataset.document;
  window.ui = SwaggerUIBundle({
    url,
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    queryConfigEnabled: false,
    tryItOutEnabled: true,
    persistAuthorization: false,
    displayRequestDuration: true,
    onComplete() {
      const spec = window.ui.specSelectors.specJson().toJS();
      const title = (spec.info && spec.info.title) || "API";
      document.title = title;
      document.getElementById("title").textContent = title;
      offerStreams(spec, new URL(url, location.href));
    },
  });
});
