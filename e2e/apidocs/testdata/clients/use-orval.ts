// Calls the gateway with the functions that orval has made of its document.
import * as api from "./orval";

export async function useOrval() {
  return {};
}
