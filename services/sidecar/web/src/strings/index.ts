// The language of the page: the first of the reader's that there is, or that of ?lang=.

import { en, type Strings } from "./en.ts";

const languages: Record<string, Strings> = { en };

function choose(): [string, Strings] {
  const wanted = [new URLSearchParams(location.search).get("lang") ?? "", ...navigator.languages];
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0] ?? "";
    const strings = languages[language];
    if (strings !== undefined) return [language, strings];
  }
  return ["en", en];
}

export const [language, strings] = choose();

/** Fills `{name}` in a text. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
