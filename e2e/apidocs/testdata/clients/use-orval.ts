// Calls the gateway with the functions that orval has made of its document. They do not escape what
// they put into a path.
import * as api from "./orval";

export async function useOrval() {
  const get = await api.gatewayTestV1LibraryGetBook2("1", "1");
  const pages: string | undefined = get.status === 200 ? get.data.pages : undefined;

  const book = { title: "Persuasion", genre: "NOVEL", pages: "9007199254740993", tags: ["a", "b"] } as const;
  const post = await api.gatewayTestV1LibraryCreateBook("2", { ...book, tags: [...book.tags] }, { bookId: "orval" });
  const created = post.status === 200 ? post.data : undefined;

  const patch = await api.gatewayTestV1LibraryUpdateBook(encodeURIComponent("shelves/2/books/orval"), { title: "Persuasion, again", pages: 250 });
  const changed = patch.status === 200 ? patch.data : undefined;

  const query = await api.gatewayTestV1EchoUnary3("grüße", { list: ["x", "y"], big: "-9007199254740993" });
  const echoed = query.status === 200 ? query.data : undefined;
  const list: string[] | undefined = echoed?.request?.list;

  const missing = await api.gatewayTestV1LibraryGetBook2("1", "99");
  const error = missing.status !== 200 && "code" in missing.data ? missing.data : undefined;

  return {
    get: { title: get.status === 200 ? get.data.title : "", pages },
    post: { created: created?.name, pages: created?.pages },
    patch: { title: changed?.title, pages: changed?.pages, tags: changed?.tags },
    query: { text: echoed?.text, list, big: echoed?.request?.big },
    error: { status: missing.status, code: error?.code, message: error?.message },
  };
}
