// Functions that call fetch. Their base URL is the one that the document names.
module.exports = {
  api: {
    input: "./openapi.json",
    output: { target: "./orval.ts", client: "fetch", baseUrl: { getBaseUrlFromSpecification: true } },
  },
};
