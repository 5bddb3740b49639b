// Calls the gateway with the client that protoc-gen-es has made of its descriptors.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { Echo, Genre, Library } from "./gen/internal/testkit/testpb/echo_pb";

export async function useConnect(baseUrl: string) {
  const transport = createConnectTransport({ baseUrl });
  const library = createClient(Library, transport);
  const echo = createClient(Echo, transport);

  const get = await library.getBook({ name: "shelves/1/books/1" });
  const pages: bigint = get.pages;
  const post = await library.createBook({ parent: "shelves/2", bookId: "connect", book: { title: "Persuasion", genre: Genre.NOVEL, pages: 9007199254740993n } });
  const texts: string[] = [];
  for await (const { text, number } of echo.serverStream({ text: "s", count: 3 })) texts.push(`${text} ${number}`);
  const error = await library.getBook({ name: "no such book" }).catch((err) => ConnectError.from(err));

  return {
    get: { title: get.title, pages: String(pages) },
    post: { created: post.name, pages: String(post.pages) },
    stream: texts,
    error: error instanceof ConnectError ? { code: Code[error.code], message: error.rawMessage } : "none",
  };
}
