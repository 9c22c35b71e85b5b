// What a person set for this browser. Nothing of it is about patients or calls.

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const keys = { theme: "helix.theme", language: "helix.language", shortcuts: "helix.shortcuts" };

/** A browser may forbid storage; the page works without. */
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Then it holds until the page is closed.
  }
}

export function storedTheme(): Theme {
  return THEMES.find((theme) => theme === read(keys.theme)) ?? "auto";
}

/** Told when the theme has changed, by whatever hand. */
export const THEME_CHANGED = "helix-theme";

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset["theme"] = theme;
  write(keys.theme, theme);
  dispatchEvent(new Event(THEME_CHANGED));
}

export const storedLanguage = (): string | null => read(keys.language);
export const storeLanguage = (language: string): void => write(keys.language, language);

export const storedShortcuts = (): boolean => read(keys.shortcuts) !== "off";
export const storeShortcuts = (on: boolean): void => write(keys.shortcuts, on ? "on" : "off");
