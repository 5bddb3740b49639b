// Calls the gateway with openapi-fetch, by the types that openapi-typescript has made of its document.
// Annotated variables are there for the type check: they fail it if the document says less.
import createClient from "openapi-fetch";
import type { paths } from "./schema";

export async function useOpenAPIFetch(baseUrl: string) {
  const client = createClient<paths>({ baseUrl });

  const get = await client.GET("/v1/books/{name}", { params: { path: { name: "shelves/1/books/1" } } });
  const pages: string | undefined = get.data?.pages;

  const post = await client.POST("/v1/shelves/{parent_1}/books", {
    params: { path: { parent_1: "2" }, query: { bookId: "openapi-fetch" } },
    body: { title: "Persuasion", genre: "NOVEL", pages: "9007199254740993", tags: ["a", "b"], labels: { lang: "en" } },
  });
  const created: string | undefined = post.data?.name;

  const patch = await client.PATCH("/books/{book_name}", {
    params: { path: { book_name: "shelves/2/books/openapi-fetch" } },
    body: { title: "Persuasion, again", pages: 250 },
  });

  const query = await client.GET("/v1/echo/{text}", {
    params: { path: { text: "a/b" }, query: { list: ["x", "y"], genres: ["NOVEL", 2], big: "-9007199254740993", "nested.numbers": [1, 2] } },
  });
  const echoed = query.data?.request;
  const list: string[] | undefined = echoed?.list;
  const big: string | undefined = echoed?.big;

  const missing = await client.GET("/v1/books/{name}", { params: { path: { name: "no such book" } } });
  const error = missing.error && "code" in missing.error ? missing.error : undefined;

  return {
    get: { title: get.data?.title, pages },
    post: { created, pages: post.data?.pages },
    patch: { title: patch.data?.title, pages: patch.data?.pages, tags: patch.data?.tags },
    query: { text: query.data?.text, list, big, genres: echoed?.genres, numbers: echoed?.nested?.numbers },
    error: { status: missing.response.status, code: error?.code, message: error?.message },
  };
}
