// The language of the page: that of ?lang=, the one chosen before, or the first of the reader's that there is.
// A language is loaded when it is used; English is always here.

import { storedLanguage } from "../settings.ts";
import { en, type Strings } from "./en.ts";
import { formFor, type Forms } from "./forms.ts";

interface Language {
  /** What its readers call it. */
  name: string;
  load: () => Promise<Strings>;
}

export const languages: Record<string, Language> = {
  en: { name: "English", load: () => Promise.resolve(en) },
  hi: { name: "हिन्दी", load: async () => (await import("./hi.ts")).hi },
};

export let language = "en";
export let strings: Strings = en;

/** The language to begin with. */
export function wantedLanguage(): string {
  const wanted = [new URLSearchParams(location.search).get("lang"), storedLanguage(), ...navigator.languages];
  for (const tag of wanted) {
    const name = tag?.toLowerCase().split("-")[0] ?? "";
    if (Object.hasOwn(languages, name)) return name;
  }
  return "en";
}

/** Takes a language from here on. Whatever is on the screen must be drawn anew. */
export async function speak(name: string): Promise<void> {
  try {
    const loaded = await languages[name]?.load();
    if (loaded === undefined) return;
    [language, strings] = [name, loaded];
    document.documentElement.lang = name;
  } catch {
    // Its file cannot be had now: better the language that is here than none.
  }
}

/** Letters that are written from right to left. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufefc]/;

/** A name that is written the other way than the text around it must not turn that text around. */
const isolated = (value: string | number): string =>
  typeof value === "string" && RIGHT_TO_LEFT.test(value) ? `\u2068${value}\u2069` : String(value);

/** Fills `{name}` in a text. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => isolated(values[name] ?? whole));
}

/** Our word for what others name: theirs, where we have none. */
export function wordFor(words: Readonly<Record<string, string>>, theirs: string): string {
  return Object.hasOwn(words, theirs) ? (words[theirs] ?? theirs) : theirs;
}

/** How the reader's own country writes numbers and dates in this language. */
export function locale(): string {
  const regional = navigator.languages.find((tag) => tag.includes("-") && tag.toLowerCase().split("-")[0] === language);
  return regional ?? (language === "en" ? "en-GB" : language);
}

/** Fills a text that has forms, or one that has not, by a number. */
export function fillFor(count: number, text: string | Forms, values: Record<string, string | number>): string {
  return fill(typeof text === "string" ? text : formFor(text, count, language), values);
}
