import { render } from "preact";

import { language, strings } from "./strings/index.ts";
import { takeTokenFromFragment } from "./session.ts";
import { App } from "./view/app.tsx";

takeTokenFromFragment();
document.documentElement.lang = language;
document.title = `Helix · ${strings.monitor}`;
const root = document.getElementById("app");
if (root !== null) render(<App />, root);
