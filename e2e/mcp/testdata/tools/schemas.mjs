// Compiles the schemas of tools with ajv, and judges values by them. It reads lines of JSON: {"name",
// "input", "output"} is a tool, {"name", "arguments", "result"} a call. It prints a line for each
// complaint. With "wrong": true, it complains about a call that the schemas accept.
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { createInterface } from "node:readline";

const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false, allErrors: true, validateFormats: true });
addFormats(ajv);
// These are of OpenAPI's registry of formats. JSON Schema allows any.
for (const format of ["uint32", "uint64"]) ajv.addFormat(format, true);
const tools = new Map();
for await (const line of createInterface({ input: process.stdin })) {
	const { name, input, output, wrong, ...call } = JSON.parse(line);
	try {
		if (input) {
			for (const schema of [input, output]) {
				if (!ajv.validateSchema(schema)) throw new Error(ajv.errorsText(ajv.errors));
			}
			tools.set(name, { arguments: ajv.compile(input), result: ajv.compile(output) });
			continue;
		}
		for (const [part, value] of Object.entries(call)) {
			const validate = tools.get(name)[part];
			const right = validate(value);
			if (right && wrong) console.log(`${name}: ${part} ${JSON.stringify(value)}: accepted`);
			if (!right && !wrong) console.log(`${name}: ${part} ${JSON.stringify(value)}: ${ajv.errorsText(validate.errors)}`);
		}
	} catch (error) {
		console.log(`${name}: ${error}`);
	}
}
