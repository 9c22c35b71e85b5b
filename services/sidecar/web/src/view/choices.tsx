import { useEffect, useState } from "preact/hooks";

import { applyTheme, storedTheme, storeLanguage, type Theme, THEME_CHANGED, THEMES } from "../settings.ts";
import { language, languages, strings } from "../strings/index.ts";
import { Select } from "./select.tsx";

/** Told to whoever draws the page, so that it is drawn anew. */
export const LANGUAGE_CHOSEN = "helix-language";

export function ThemeChoice() {
  const [theme, setTheme] = useState(storedTheme);
  useEffect(() => {
    const changed = () => setTheme(storedTheme());
    addEventListener(THEME_CHANGED, changed);
    return () => removeEventListener(THEME_CHANGED, changed);
  }, []);
  const choose = (chosen: string) => {
    applyTheme(chosen as Theme);
    setTheme(chosen as Theme);
  };
  const options = THEMES.map((name) => [name, strings.themes[name]] as const);
  return <Select label={strings.theme} testid="theme" value={theme} options={options} choose={choose} />;
}

export function LanguageChoice() {
  const choose = (name: string) => {
    storeLanguage(name);
    dispatchEvent(new CustomEvent(LANGUAGE_CHOSEN, { detail: name }));
  };
  const options = Object.entries(languages).map(([name, { name: called }]) => [name, called] as const);
  return <Select label={strings.language} testid="language" value={language} options={options} choose={choose} />;
}
