// All tests of the page, built as one file.

import "./reader.ts";
import "./alerts.test.ts";
import "./lists.test.ts";
import "./page.test.ts";
import "./plots.test.ts";
import "./redraws.test.ts";
import "./roving.test.ts";
import "./sessions.test.ts";
import "./trust.test.ts";
import "./words.test.ts";
import "./worklist.test.ts";
