import { render } from "preact";

import { takeTokenFromFragment } from "./session.ts";
import { applyTheme, storedTheme } from "./settings.ts";
import { speak, strings, wantedLanguage } from "./strings/index.ts";
import { App } from "./view/app.tsx";

takeTokenFromFragment();
applyTheme(storedTheme());
await speak(wantedLanguage());
document.title = `Helix · ${strings.monitor}`;
const root = document.getElementById("app");
if (root !== null) render(<App />, root);
