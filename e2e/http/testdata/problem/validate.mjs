// Validates JSON documents, an array of texts on stdin, by the schema of RFC 9457. For each it writes
// what is wrong with it, or null, as one array on stdout. URL is the parser that browsers have.
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const ajv = new Ajv.default({ allErrors: true });
addFormats.default(ajv, { mode: "full" });
const validate = ajv.compile(JSON.parse(readFileSync(new URL("schema.json", import.meta.url))));

const judge = (text) => {
  try {
    const document = JSON.parse(text);
    if (!validate(document)) return ajv.errorsText(validate.errors);
    new URL(document.type);
    return null;
  } catch (error) {
    return String(error);
  }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(judge)));
