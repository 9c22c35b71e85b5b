// Not run: held by the type check of the build, which fails where a line below is no error any more.

import { en, type Strings } from "../src/strings/en.ts";

const { live, ...lacksAText } = en;
// @ts-expect-error A language that lacks a text does not build.
export const withoutText: Strings = lacksAText;

const { lag, ...lacksAWord } = en.staleReason;
// @ts-expect-error Nor does one that lacks a word of a list.
export const withoutWord: Strings = { ...en, staleReason: lacksAWord };
