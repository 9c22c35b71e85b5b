// A reader, as the browser tells of one. Node has none, or its own.

let languages: readonly string[] = ["en-GB"];

Object.defineProperty(globalThis, "navigator", { value: { get languages() { return languages; } }, configurable: true });

/** What `read` gives where somebody reads these languages. */
export function reading<T>(tags: readonly string[], read: () => T): T {
  const before = languages;
  languages = tags;
  try {
    return read();
  } finally {
    languages = before;
  }
}
