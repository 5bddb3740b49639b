// Makes all calls, and prints what came of them. The test judges it.
import { useConnect } from "./use-connect";
import { useOpenAPIFetch } from "./use-openapi-fetch";
import { useOrval } from "./use-orval";

declare const process: { argv: string[] };
const baseUrl = process.argv[2] ?? "";
console.log(JSON.stringify({ "openapi-fetch": await useOpenAPIFetch(baseUrl), orval: await useOrval(), connect: await useConnect(baseUrl) }));
